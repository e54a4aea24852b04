//! A TCP link to a server that can be cut, or go silent as a machine that hangs.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Whole,
    /// Connections end, and new ones end at once.
    Cut,
    /// Connections stay and nothing goes through.
    Silent,
}

pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
}

impl Link {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State::Whole);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *watched.borrow() == State::Cut {
                    continue;
                }
                tokio::spawn(carry(client, server.clone(), watched.clone()));
            }
        });
        Self { address, state }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn carry(client: TcpStream, server: String, mut state: watch::Receiver<State>) {
    let cut = {
        let mut state = state.clone();
        async move { drop(state.wait_for(|now| *now == State::Cut).await) }
    };
    let whole = async {
        // A machine that hangs takes connections all the same.
        drop(state.wait_for(|now| *now == State::Whole).await);
        let Ok(server) = TcpStream::connect(&server).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let one = copy(from_client, to_server, state.clone());
        let other = copy(from_server, to_client, state.clone());
        tokio::select! {
            () = one => {}
            () = other => {}
        }
    };
    tokio::select! {
        () = cut => {}
        () = whole => {}
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        drop(state.wait_for(|now| *now == State::Whole).await);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
