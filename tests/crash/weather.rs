//! WeChat's mood during a cycle: how it answers repeats, and what goes wrong now and then besides the crash.

use rand::RngExt;
use rand::rngs::StdRng;
use wxgate::sandbox::{DuplicateAnswer, Fault, FaultKind, Sandbox};

const CONTRADICTING: u32 = 7;
const SEND: &str = "/cgi-bin/message/template/send";

/// Instead of that of the cycle before. → whether receipts contradict each other.
pub(crate) fn change(sandbox: &Sandbox, rng: &mut StdRng) -> bool {
    let of_receipts = |kind| Some(Fault::of(kind).share(0.3));
    let of_sends = |fault: Fault| Some(fault.on(SEND).share(0.2));
    sandbox.clear_faults();
    let mood = rng.random_range(0..12);
    let fault = match mood {
        0 => of_sends(Fault::slow(30)),
        1 => of_sends(Fault::errcode(-1)),
        2 => of_sends(Fault::of(FaultKind::Reset)),
        3 => of_sends(Fault::http(502)),
        4 => of_sends(Fault::of(FaultKind::Truncated)),
        5 => of_receipts(FaultKind::ReceiptBefore),
        6 => of_receipts(FaultKind::ReceiptTwice),
        CONTRADICTING => of_receipts(FaultKind::ReceiptContradicting),
        _ => None,
    };
    fault.map(|fault| sandbox.set_fault(fault));
    let answer = match rng.random_range(0..3) {
        0 => DuplicateAnswer::SameMsgid,
        1 => DuplicateAnswer::NewMsgid,
        _ => DuplicateAnswer::Refuse,
    };
    sandbox.change_settings(|settings| settings.duplicate_answer = answer);
    mood == CONTRADICTING
}
