//! The writer's task: takes what waits, commits it, and goes on when the connection does not.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::batch::{self, Outcome};
use super::fault::{Fault, unavailable};
use super::link::{Dialer, Link};
use super::writer::{Job, Order};
use crate::store::Error;
use crate::store::figures::Figures;

/// Commands in one transaction at most.
const BATCH: usize = 256;

pub(super) struct Work {
    dialer: Dialer,
    link: Option<Link>,
    figures: Arc<Figures>,
    /// Of the last transaction.
    number: i64,
}

impl Work {
    pub(super) fn new(dialer: Dialer, link: Link, figures: Arc<Figures>) -> Self {
        let number = link.last.unwrap_or_default();
        Self { dialer, link: Some(link), figures, number }
    }

    pub(super) async fn serve(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while orders.recv_many(&mut waiting, BATCH).await > 0 {
            let mut jobs = Vec::with_capacity(waiting.len());
            for order in waiting.drain(..) {
                match order {
                    Order::Run(job) => jobs.push(job),
                    Order::Stop => orders.close(),
                }
            }
            if !jobs.is_empty() {
                self.work_off(jobs).await;
            }
        }
    }

    async fn work_off(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        match self.commit(&mut jobs).await {
            Ok(()) => jobs.into_iter().for_each(|job| job.answer(Ok(()))),
            Err((error, Fault::Lost)) => refuse(jobs, &error),
            Err((error, _)) if jobs.len() == 1 => refuse(jobs, &error),
            Err(_) => {
                for mut job in jobs {
                    let done = self.commit(std::slice::from_mut(&mut job)).await;
                    job.answer(done.map_err(|(error, _)| error));
                }
            }
        }
    }

    async fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), (Error, Fault)> {
        if self.link.is_none() {
            self.link = Some(self.dialer.dial().await.map_err(|error| (error, Fault::Lost))?);
        }
        let Some(link) = &self.link else { return Err((unavailable("no connection"), Fault::Lost)) };
        self.number += 1;
        let (error, fault) = match batch::commit(&self.dialer, link, self.number, jobs).await {
            Outcome::Committed(notes) => {
                self.figures.add(&notes.deltas);
                return Ok(());
            }
            Outcome::Failed(error, fault) => (error, fault),
            Outcome::InDoubt(error, _) => (error, Fault::Lost),
        };
        if fault == Fault::Lost || link.client.batch_execute("ROLLBACK").await.is_err() {
            self.link = None;
        }
        Err((error, fault))
    }
}

fn refuse(jobs: Vec<Box<dyn Job>>, error: &Error) {
    jobs.into_iter().for_each(|job| job.answer(Err(error.clone())));
}
