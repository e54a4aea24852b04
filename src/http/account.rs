//! `GET /api/me`: the key's own account.

use axum::extract::State;
use axum::response::Response;

use super::auth::Customer;
use super::error::ApiError;
use super::{App, answer, success};

pub(super) async fn me(
    State(app): State<App>,
    Customer(auth): Customer,
) -> Result<Response, ApiError> {
    let account = app.store.account(&auth).await?;
    let key = account.ok_or_else(|| ApiError::unauthorized("Invalid API key"))?;
    Ok(success(answer::Me {
        api_key: answer::Account {
            id: key.key.0,
            key_id: key.key_id,
            name: key.name,
            credits: key.credits,
            total_calls: key.total_calls,
            successful_calls: key.successful_calls,
            rate_limit: key.rate_limit,
            created_at: key.created_at,
            last_used: key.last_used,
        },
    }))
}
