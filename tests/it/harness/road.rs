//! A TCP road between two programs that can be made bad: delayed, frozen, cut, closed, or answered by somebody else.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What the road does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Pass,
    /// What the caller says arrives so much later; the answers come back at once.
    Delay(Duration),
    /// Connections are taken and kept, and nothing gets through before the way is another.
    Freeze,
    /// Nobody listens, and present connections are reset.
    Refuse,
    /// The other end is not asked: each piece that comes is answered with this.
    Say(&'static [u8]),
}

/// It ends with the test's runtime.
pub(crate) struct Road {
    pub(crate) port: u16,
    now: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    way: Way,
    /// Connections with a lower number are reset, or carry nothing any more.
    cut_before: u64,
    stalled_before: u64,
    /// The number of the next connection.
    next: u64,
}

impl Road {
    /// To a port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (now, _) = watch::channel(State { way: Way::Pass, cut_before: 0, stalled_before: 0, next: 0 });
        tokio::spawn(serve(listener, address, port, now.clone()));
        Self { port: address.port(), now }
    }

    pub(crate) fn set(&self, way: Way) {
        self.now.send_modify(|state| state.way = way);
    }

    /// Resets present connections; new ones pass.
    pub(crate) fn cut(&self) {
        self.now.send_modify(|state| state.cut_before = state.next);
    }

    /// Present connections never carry anything again, without a word to either end; new ones pass.
    pub(crate) fn stall(&self) {
        self.now.send_modify(|state| state.stalled_before = state.next);
    }

    /// How many were ever taken.
    pub(crate) fn connections(&self) -> u64 {
        self.now.borrow().next
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, port: u16, now: watch::Sender<State>) {
    let (mut listener, mut changed) = (Some(listener), now.subscribe());
    loop {
        let way = changed.borrow_and_update().way;
        match &listener {
            _ if way == Way::Refuse => {
                listener = None;
                if changed.changed().await.is_err() {
                    return;
                }
            }
            None => listener = Some(TcpListener::bind(address).await.expect("the port is still ours")),
            Some(open) => tokio::select! {
                taken = open.accept() => {
                    let number = now.borrow().next;
                    now.send_modify(|state| state.next += 1);
                    tokio::spawn(carry(taken.unwrap().0, port, number, now.subscribe()));
                }
                more = changed.changed() => if more.is_err() { return },
            },
        }
    }
}

type Piece = (Instant, Vec<u8>);

async fn carry(caller: TcpStream, port: u16, number: u64, now: watch::Receiver<State>) {
    // Closing is a reset then, in both directions.
    caller.set_zero_linger().unwrap();
    let Ok(there) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    there.set_zero_linger().unwrap();
    let ((from_caller, to_caller), (from_there, to_there)) = (caller.into_split(), there.into_split());
    let ((asked, questions), (answered, answers)) = (unbounded_channel(), unbounded_channel());
    let mut state = now.clone();
    // What a caller said before it left still arrives.
    let there = join(
        listen(from_caller, asked, Some(answered.clone()), now.clone()),
        speak(to_there, questions, number, now.clone()),
    );
    let back = join(listen(from_there, answered, None, now.clone()), speak(to_caller, answers, number, now));
    tokio::select! {
        _ = there => {}
        _ = back => {}
        _ = state.wait_for(|state| state.way == Way::Refuse || number < state.cut_before) => {}
    }
}

/// `back`: the way to the caller, when it is the caller who is listened to.
async fn listen(
    mut from: OwnedReadHalf,
    on: UnboundedSender<Piece>,
    back: Option<UnboundedSender<Piece>>,
    now: watch::Receiver<State>,
) {
    let mut room = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut room).await {
        let piece = room[..length].to_vec();
        let way = now.borrow().way;
        let sent = match (way, &back) {
            (Way::Say(answer), Some(back)) => back.send((Instant::now(), answer.to_vec())),
            (Way::Delay(delay), Some(_)) => on.send((Instant::now() + delay, piece)),
            _ => on.send((Instant::now(), piece)),
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn speak(
    mut to: OwnedWriteHalf,
    mut pieces: UnboundedReceiver<Piece>,
    number: u64,
    mut now: watch::Receiver<State>,
) {
    while let Some((due, piece)) = pieces.recv().await {
        sleep_until(due).await;
        let may_go = |state: &State| state.way != Way::Freeze && number >= state.stalled_before;
        if now.wait_for(may_go).await.is_err() || to.write_all(&piece).await.is_err() {
            return;
        }
    }
}
