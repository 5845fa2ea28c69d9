//! Delivery receipts (event `TEMPLATESENDJOBFINISH`): what is sent, when, and what goes wrong with it.
//! In: an accepted message. Out: callbacks to the account's target.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::callback::CallbackRequest;
use super::config::Receipts;
use super::faults::{FaultKind, Scope};
use super::model::Sandbox;
use super::world::World;
use crate::domain::clock::Timestamp;

const SEND: &str = "/cgi-bin/message/template/send";
/// WeChat tries a callback three times.
const ATTEMPTS: u32 = 3;
/// Receipts that wait; a gateway that never takes them must not fill the memory. What is more is lost, as WeChat loses it.
const KEPT: usize = 1_000_000;

/// A receipt that is still to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) account: String,
    pub(super) openid: String,
    pub(super) msgid: i64,
    pub(super) status: String,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) receipts: Vec<Receipt>,
    /// They arrive before the answer does.
    pub(super) first: bool,
}

/// Which receipts follow on an accepted message. `status` is `None` when the recipient's script gives none.
pub(super) fn plan(
    world: &mut World,
    account: &str,
    openid: &str,
    msgid: i64,
    status: Option<&str>,
    now: Timestamp,
) -> Plan {
    let Some(status) = status else { return Plan { receipts: Vec::new(), first: false } };
    let scope = Scope { account: Some(account), path: SEND, in_flight: 0 };
    let fault = world.faults.strike_receipt(&scope, now, &mut world.rng);
    let statuses = match fault.as_ref().map(|fault| fault.kind) {
        Some(FaultKind::ReceiptNever) => vec![],
        Some(FaultKind::ReceiptTwice) => vec![status, status],
        Some(FaultKind::ReceiptContradicting) => vec![status, opposite(status)],
        Some(FaultKind::ReceiptUnknown) => {
            vec![fault.as_ref().and_then(|fault| fault.errmsg.as_deref()).unwrap_or("pending review")]
        }
        _ => vec![status],
    };
    let receipt = |status: &&str| Receipt {
        account: account.to_owned(),
        openid: openid.to_owned(),
        msgid,
        status: (*status).to_owned(),
    };
    let receipts = statuses.iter().map(receipt).collect();
    Plan { receipts, first: fault.is_some_and(|fault| fault.kind == FaultKind::ReceiptBefore) }
}

fn opposite(status: &str) -> &'static str {
    if status == "success" { "failed: system failed" } else { "success" }
}

impl Sandbox {
    /// Sends them in time, or keeps them for `deliver_receipts`.
    pub(super) fn schedule(&self, mut receipts: Vec<Receipt>) {
        let delay = self.with(|world, _| {
            receipts.retain(|receipt| world.account(Some(&receipt.account)).is_some_and(|to| to.target.is_some()));
            if receipts.is_empty() {
                return None;
            }
            if world.settings.receipts == Receipts::Manual {
                let room = KEPT.saturating_sub(world.receipts.len());
                world.receipts.extend(receipts.iter().take(room).cloned());
                return None;
            }
            if world.receipts_under_way > KEPT {
                return None;
            }
            Some(Duration::from_millis(world.settings.receipt_delay_ms))
        });
        if let Some(delay) = delay {
            drop(self.deliver_all(receipts, delay));
        }
    }

    /// Sends them now, and returns when they were answered. They go on when the caller hangs up meanwhile.
    pub(super) async fn deliver_first(&self, receipts: Vec<Receipt>) {
        // The task cannot be stopped by anybody.
        let _ = self.deliver_all(receipts, Duration::ZERO).await;
    }

    fn deliver_all(&self, receipts: Vec<Receipt>, delay: Duration) -> JoinHandle<()> {
        self.with(|world, _| world.receipts_under_way += receipts.len());
        let sandbox = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            for receipt in receipts {
                sandbox.deliver(&receipt).await;
                sandbox.with(|world, _| world.receipts_under_way = world.receipts_under_way.saturating_sub(1));
            }
        })
    }

    /// Sends all receipts that wait (`receipts: manual`), in order; how many were acknowledged.
    pub async fn deliver_receipts(&self) -> usize {
        let mut acknowledged = 0;
        while let Some(receipt) = self.with(|world, _| world.receipts.pop_front()) {
            acknowledged += usize::from(self.deliver(&receipt).await);
        }
        acknowledged
    }

    /// Receipts that have not been sent yet, by hand or by time.
    pub fn pending_receipts(&self) -> usize {
        self.with(|world, _| world.receipts.len() + world.receipts_under_way)
    }

    /// Openids whose receipt was tried three times and never acknowledged: it does not come again.
    pub fn lost_receipts(&self) -> Vec<String> {
        self.with(|world, _| world.lost_receipts.iter().map(|receipt| receipt.openid.clone()).collect())
    }

    /// Whether the target acknowledged it. An account without a target gets none.
    async fn deliver(&self, receipt: &Receipt) -> bool {
        let request = CallbackRequest::receipt(&receipt.openid, receipt.msgid, &receipt.status)
            .for_account(&receipt.account)
            .attempts(ATTEMPTS);
        let accepted = self.send_callback(request).await.is_ok_and(|result| result.accepted);
        if !accepted {
            self.with(|world, _| {
                if world.lost_receipts.len() >= KEPT {
                    world.lost_receipts.pop_front();
                }
                world.lost_receipts.push_back(receipt.clone());
            });
        }
        accepted
    }
}
