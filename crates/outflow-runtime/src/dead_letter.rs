//! Dead letters, and the policy that decides between them and a stop.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outflow_sdk::{
    Ack, AckPort, AckToken, BuildContext, ChangeBatch, Checkpoint, ConfiguredSink, Error, EventRef, Outcome,
    RecordBatch, RecordWriter, Result, Scope, Sink, SinkContext, SinkKind, Timestamp, json,
};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::backoff::Backoff;
use crate::options::OnError;
use crate::path::pause;
use crate::status::Meter;

/// Decides what becomes of events that cannot be taken.
pub(crate) struct Policy {
    pipeline: Arc<str>,
    on_error: OnError,
    window: Mutex<Window>,
    letters: Option<AsyncMutex<Letters>>,
    meter: Arc<Meter>,
    max_backoff: Duration,
}

/// Where in the pipeline an event was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    Source,
    Transform,
    Format,
    Sink,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Format => "format",
            Self::Sink => "sink",
        }
    }
}

impl Policy {
    pub(crate) fn new(
        pipeline: Arc<str>,
        on_error: OnError,
        sink: Option<Box<dyn Sink<RecordBatch>>>,
        meter: Arc<Meter>,
        max_backoff: Duration,
    ) -> Self {
        let letters = sink.map(|sink| AsyncMutex::new(Letters { sink }));
        Self { pipeline, on_error, window: Mutex::default(), letters, meter, max_backoff }
    }

    /// Opens the sink for dead letters of a pipeline that has them.
    pub(crate) async fn open_sink(
        configured: &dyn ConfiguredSink,
        cx: &BuildContext,
    ) -> Result<Box<dyn Sink<RecordBatch>>> {
        let SinkKind::Records(mut sink) = configured.build(&cx.clone().has_format(true)).await? else {
            return Err(Error::configuration("config.dead_letter")
                .message(format!("sink \"{}\" cannot take dead letters", configured.type_name()))
                .hint("use a sink that takes records, such as type: file"));
        };
        sink.open(SinkContext::new(Arc::clone(&cx.pipeline), Checkpoint::new(), 1 << 20)).await?;
        Ok(sink)
    }

    /// Counts events that were fine.
    pub(crate) fn fine(&self, events: usize) {
        if let OnError::DeadLetter { window, .. } = self.on_error {
            self.window.lock().unwrap_or_else(PoisonError::into_inner).push(events, false, window);
        }
    }

    /// Sees to refused events: returns once they are durable as dead letters.
    ///
    /// # Errors
    /// The event's own error under `on_error: stop`, or when too many were refused.
    pub(crate) async fn refuse<'a>(
        &self,
        stage: Stage,
        bad: impl IntoIterator<Item = (EventRef<'a>, &'a Error)>,
    ) -> Result<()> {
        let bad: Vec<_> = bad.into_iter().collect();
        let (OnError::DeadLetter { bad: limit, window }, Some(letters)) = (self.on_error, &self.letters)
        else {
            return match bad.first() {
                Some((event, error)) => Err(stop(stage, event, error)),
                None => Ok(()),
            };
        };
        let refused =
            self.window.lock().unwrap_or_else(PoisonError::into_inner).push(bad.len(), true, window);
        if refused > limit
            && let Some((event, error)) = bad.first()
        {
            return Err(stop(stage, event, error).with("refused_recently", refused).hint(format!(
                "{refused} of the last {window} events were refused (more than {limit}): the pipeline stops \
                 rather than fill the dead letters; correct the cause and start it again"
            )));
        }
        let count = bad.len() as u64;
        let mut out = RecordWriter::new();
        for (event, error) in bad {
            self.write(stage, event, error, &mut out)?;
        }
        // Invariant 2: durable in the dead letters before the ack.
        letters.lock().await.deliver(Arc::new(out.finish_detached()), &self.meter, self.max_backoff).await?;
        self.meter.dead_lettered(count);
        Ok(())
    }

    fn write(&self, stage: Stage, event: EventRef<'_>, error: &Error, out: &mut RecordWriter) -> Result<()> {
        let reason = restated(stage, error).with("pipeline", &self.pipeline).with("at", Timestamp::now());
        let mut record = out.begin(event.index());
        record.id(event.id());
        record.destination(event.route().unwrap_or_default());
        record.header("outflow-error-code", Some(error.code().as_bytes()));
        record.header("outflow-error-stage", Some(stage.as_str().as_bytes()));
        record.value(|to| {
            json::EventWriter::new().write_rejected(event, &reason, to);
            Ok(())
        })?;
        record.end();
        Ok(())
    }

    /// Closes the dead letters' sink.
    pub(crate) async fn close(self) -> Result<()> {
        match self.letters {
            Some(letters) => letters.into_inner().sink.close().await,
            None => Ok(()),
        }
    }
}

/// The same error once more, with the stage at which it happened.
fn restated(stage: Stage, error: &Error) -> Error {
    let again = Error::data(error.code().to_owned()).message(error.text()).with("stage", stage.as_str());
    let again = error.context().fold(again, |e, (k, v)| e.with(k.to_owned(), v));
    match error.hint_text() {
        Some(hint) => again.hint(hint),
        None => again,
    }
}

fn stop(stage: Stage, event: &EventRef<'_>, error: &Error) -> Error {
    let stopped = restated(stage, error).scope(Scope::Connector).with("event", event.id());
    if stopped.hint_text().is_some() {
        return stopped;
    }
    stopped.hint(
        "correct the cause, or let such events go to a dead-letter destination with   on_error: dead-letter",
    )
}

struct Letters {
    sink: Box<dyn Sink<RecordBatch>>,
}

impl Letters {
    async fn deliver(&mut self, batch: Arc<RecordBatch>, meter: &Meter, max: Duration) -> Result<()> {
        let mut backoff = Backoff::new(max);
        loop {
            let error = match self.offer(&batch).await {
                Ok(()) => {
                    if backoff.attempt() > 0 {
                        meter.recovered();
                    }
                    return Ok(());
                }
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            pause(meter, &mut backoff, &error).await;
        }
    }

    async fn offer(&mut self, batch: &Arc<RecordBatch>) -> Result<()> {
        let (send, outcome) = oneshot::channel();
        let port = Arc::new(OneAck(Mutex::new(Some(send))));
        self.sink.write(batch, Ack::new(port, AckToken { generation: 0, seq: 0, attempt: 0 })).await?;
        self.sink.flush().await?;
        match outcome.await {
            Ok(Outcome::Durable) => Ok(()),
            Ok(Outcome::Failed(error)) => Err(error),
            Ok(Outcome::Rejected(bad)) => Err(bad.into_iter().next().map_or_else(
                || Error::internal("dead_letter.refused").message("refused without a reason"),
                |(_, error)| error.scope(Scope::Connector),
            )),
            Ok(_) | Err(_) => {
                Err(Error::transient("dead_letter.unanswered").message("the dead-letter sink gave no answer"))
            }
        }
    }
}

struct OneAck(Mutex<Option<oneshot::Sender<Outcome>>>);

impl AckPort for OneAck {
    fn resolve(&self, _: AckToken, outcome: Outcome) {
        if let Some(send) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = send.send(outcome);
        }
    }
}

/// The last events, as runs of good and bad ones.
#[derive(Debug, Default)]
struct Window {
    runs: VecDeque<(usize, bool)>,
    total: usize,
    bad: usize,
}

impl Window {
    /// Adds a run, forgets what is older than `size` events, and says how many of the rest are bad.
    fn push(&mut self, count: usize, bad: bool, size: usize) -> usize {
        match self.runs.back_mut() {
            Some(last) if last.1 == bad => last.0 += count,
            _ => self.runs.push_back((count, bad)),
        }
        self.total += count;
        self.bad += if bad { count } else { 0 };
        while self.total > size.max(1)
            && let Some(first) = self.runs.front_mut()
        {
            let gone = first.0.min(self.total - size.max(1));
            first.0 -= gone;
            self.total -= gone;
            self.bad -= if first.1 { gone } else { 0 };
            if first.0 == 0 {
                self.runs.pop_front();
            }
        }
        self.bad
    }
}

/// The events of a batch that are named by index.
pub(crate) fn named<'a>(
    batch: &'a ChangeBatch,
    bad: &'a [(u32, Error)],
) -> impl Iterator<Item = (EventRef<'a>, &'a Error)> {
    bad.iter().filter_map(|(index, error)| Some((batch.get(*index as usize)?, error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_what_is_old() {
        let mut window = Window::default();
        assert_eq!(window.push(3, true, 10), 3);
        assert_eq!(window.push(5, false, 10), 3);
        assert_eq!(window.push(1, true, 10), 4);
        assert_eq!(window.push(3, false, 10), 2);
        assert_eq!(window.push(100, false, 10), 0);
        assert_eq!(window.push(100, true, 10), 10);
        assert!(window.runs.len() <= 2);
    }
}
