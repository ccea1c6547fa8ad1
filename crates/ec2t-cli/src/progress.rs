//! Progress bars on a terminal, plain lines elsewhere; and Ctrl-C.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use ec2t_quant::{EpochReport, Observer, StepReport};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::tell;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// A flag that Ctrl-C sets. A second Ctrl-C ends the program at once.
pub(crate) fn stop_on_interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, pressed) = (Arc::clone(&stop), AtomicBool::new(false));
    ctrlc::set_handler(move || {
        if pressed.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        flag.store(true, Ordering::Relaxed);
        tell("stopping after this step; once more to stop at once");
    })?;
    Ok(stop)
}

/// Sets a flag when stdin ends: whoever started the program wants it to stop, or is gone.
pub(crate) fn stop_with_stdin(stop: &Arc<AtomicBool>) {
    let flag = Arc::clone(stop);
    std::thread::spawn(move || {
        // What comes, and an error, mean nothing more than that it has ended.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        flag.store(true, Ordering::Relaxed);
    });
}

/// Shows how far something has come.
pub(crate) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    last_line: Instant,
}

impl Progress {
    /// Progress towards `total`, counted in `unit`.
    pub(crate) fn new(total: u64, unit: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        bar.set_length(total);
        let template = format!("{{bar:30}} {{pos}}/{{len}} {unit}, {{eta}} left {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        Self { bar, terminal, last_line: Instant::now() }
    }

    /// `done` of the total are done.
    pub(crate) fn set(&mut self, done: u64, message: &str) {
        self.bar.set_position(done);
        self.bar.set_message(message.to_owned());
        if !self.terminal && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let (total, left) = (self.bar.length().unwrap_or(done), self.bar.eta());
            let text = format!("{done}/{total}, {} s left {message}", left.as_secs());
            tell(text.trim_end());
        }
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        match self.terminal {
            true => self.bar.println(text),
            false => tell(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Shows how training goes.
pub(crate) struct TrainingProgress(Option<Progress>);

impl TrainingProgress {
    pub(crate) fn new() -> Self {
        Self(None)
    }
}

impl Observer for TrainingProgress {
    fn begin(&mut self, stage: &str, step: u64, total: u64) {
        let progress = Progress::new(total, "steps");
        if step > 0 {
            progress.line(&format!("{stage}: continues at step {step} of {total}"));
        }
        progress.bar.set_position(step);
        progress.bar.reset_eta();
        self.0 = Some(progress);
    }

    fn step(&mut self, report: &StepReport) {
        if let Some(progress) = &mut self.0 {
            let StepReport { step, epoch, loss, top1 } = report;
            progress.set(*step, &format!("· epoch {epoch}, loss {loss:.4}, {top1:.2} %"));
        }
    }

    fn epoch(&mut self, report: &EpochReport) {
        let Some(progress) = &self.0 else { return };
        progress.line(&format!(
            "{} {}/{}: loss {:.4}, training {:.2} %, validation {:.2} % (best {:.2} %), \
             zeros {:.1} %, {:.0} s ({:.0} ms waiting for images)",
            report.stage,
            report.epoch,
            report.epochs,
            report.train_loss,
            report.train_top1,
            report.validation_top1,
            report.best.top1,
            100.0 * report.sparsity,
            report.seconds,
            report.loader_wait_ms,
        ));
        if report.epoch == report.epochs {
            progress.finish();
        }
    }
}
