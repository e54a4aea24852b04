//! `GET /api/me`: the key's own account.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::auth::Customer;
use super::error::ApiError;
use super::{App, success};

pub(super) async fn me(
    State(app): State<App>,
    Customer(auth): Customer,
) -> Result<Response, ApiError> {
    let account = app.store.account(&auth).await?;
    let key = account.ok_or_else(|| ApiError::unauthorized("Invalid API key"))?;
    Ok(success(json!({
        "apiKey": {
            "id": key.key.0,
            "keyId": key.key_id,
            "name": key.name,
            "credits": key.credits,
            "totalCalls": key.total_calls,
            "successfulCalls": key.successful_calls,
            "rateLimit": key.rate_limit,
            "createdAt": key.created_at,
            "lastUsed": key.last_used,
        }
    })))
}
