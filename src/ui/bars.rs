//! Progress on a terminal: one line per machine with stage, step and elapsed time, one per
//! task with its phase and how far it is. What stays on the screen is printed above them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::Lines;
use super::text::{Style, clean};
use crate::event::Event;

/// How often the elapsed times are redrawn.
const TICK: Duration = Duration::from_millis(200);

/// The listener for a terminal.
pub struct Bars {
    multi: MultiProgress,
    lines: Lines,
    style: Style,
    started: Instant,
    stage: String,
    machines: BTreeMap<String, ProgressBar>,
    tasks: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// Draws on `target`.
    pub fn new(target: ProgressDrawTarget, verbosity: i8, style: Style) -> Bars {
        Bars {
            multi: MultiProgress::with_draw_target(target),
            lines: Lines::new(verbosity, style, false),
            style,
            started: Instant::now(),
            stage: String::new(),
            machines: BTreeMap::new(),
            tasks: BTreeMap::new(),
        }
    }

    /// Shows one event.
    pub fn event(&mut self, event: &Event) {
        for line in self.lines.render(event, self.started.elapsed()) {
            // A terminal that has gone away is no reason to stop a build.
            let _ = self.multi.println(line);
        }
        match event {
            Event::TaskStarted { .. } | Event::TaskProgress { .. } | Event::TaskFinished { .. } => {
                self.task(event);
            }
            Event::StageStarted { stage, index, of, .. } => {
                self.stage = format!("stage {index}/{of} {}", clean(stage));
                self.machines.values().for_each(|bar| bar.set_message(self.stage.clone()));
            }
            Event::StageFinished { .. } => self.stage.clear(),
            _ => self.machine(event),
        }
    }

    /// Runs `f` with the bars off the screen.
    pub fn suspend<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.multi.suspend(f)
    }

    /// Takes every bar off the screen.
    pub fn finish(&mut self) {
        let (machines, tasks) =
            (std::mem::take(&mut self.machines), std::mem::take(&mut self.tasks));
        machines.values().chain(tasks.values()).for_each(ProgressBar::finish_and_clear);
        let _ = self.multi.clear();
    }

    fn machine(&mut self, event: &Event) {
        match event {
            Event::Machine { machine, state } if state == "stopped" => self.remove(machine),
            Event::Machine { machine, state } => self.show(machine, &clean(state), true),
            Event::StepStarted { machine, step, .. } => self.show(machine, &clean(step), true),
            Event::StepFinished { machine, ok, .. } => {
                let then = if *ok { "waiting" } else { "failed" };
                self.show(machine, then, true);
            }
            Event::Check { machine, check, .. } => self.show(machine, &clean(check), false),
            _ => {}
        }
    }

    fn show(&mut self, machine: &str, doing: &str, anew: bool) {
        let message = match self.stage.as_str() {
            "" => doing.to_owned(),
            stage => format!("{stage} · {doing}"),
        };
        if !self.machines.contains_key(machine) {
            let bar = self.add(&clean(machine), "{spinner} {prefix:12} {elapsed:>4}  {wide_msg}");
            self.machines.insert(machine.to_owned(), bar);
        }
        if let Some(bar) = self.machines.get(machine) {
            if anew {
                bar.reset_elapsed();
            }
            bar.set_message(message);
        }
    }

    fn remove(&mut self, machine: &str) {
        if let Some(bar) = self.machines.remove(machine) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }

    fn task(&mut self, event: &Event) {
        match event {
            Event::TaskStarted { task, title, .. } => {
                let bar = self.add(&clean(title), "{spinner} {prefix} {elapsed:>4}  {wide_msg}");
                self.tasks.insert(task.clone(), bar);
            }
            Event::TaskProgress { task, message, fraction } => {
                if let Some(bar) = self.tasks.get(task) {
                    bar.set_message(clean(message));
                    self.measure(bar, *fraction);
                }
            }
            Event::TaskFinished { task, .. } => {
                if let Some(bar) = self.tasks.remove(task) {
                    bar.finish_and_clear();
                    self.multi.remove(&bar);
                }
            }
            _ => {}
        }
    }

    /// A task that knows how far it is gets a bar, one that does not a spinner.
    fn measure(&self, bar: &ProgressBar, fraction: Option<(u64, u64)>) {
        let known = fraction.filter(|(_, total)| *total > 0);
        if known.is_some() != bar.length().is_some() {
            bar.set_style(self.template(if known.is_some() {
                "{spinner} {prefix} {elapsed:>4}  {bar:20} {percent:>3} %  {wide_msg}"
            } else {
                "{spinner} {prefix} {elapsed:>4}  {wide_msg}"
            }));
        }
        match known {
            Some((done, total)) => {
                bar.set_length(total);
                bar.set_position(done.min(total));
            }
            None => bar.unset_length(),
        }
    }

    fn add(&self, prefix: &str, template: &str) -> ProgressBar {
        let bar = self.multi.add(ProgressBar::new_spinner());
        bar.set_style(self.template(template));
        bar.set_prefix(prefix.to_owned());
        bar.enable_steady_tick(TICK);
        bar
    }

    fn template(&self, template: &str) -> ProgressStyle {
        let colour = if self.style.color { "{spinner:.cyan}" } else { "{spinner}" };
        let template = template.replace("{spinner}", colour);
        ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .progress_chars("━╸─")
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// Keeps everything that is written to it.
    #[derive(Debug, Clone, Default)]
    struct Recorder(Arc<Mutex<String>>);

    impl TermLike for Recorder {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, s: &str) -> io::Result<()> {
            self.write_str(&format!("{s}\n"))
        }
        fn write_str(&self, s: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(s);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn machines_tasks_and_lines_are_drawn() {
        let screen = Recorder::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let mut bars = Bars::new(target, 0, Style { color: false });
        let task = || "base/c".to_owned();
        bars.event(&Event::TaskStarted { task: task(), title: "base of c".into(), machine: None });
        let fraction = Some((1, 4));
        bars.event(&Event::TaskProgress { task: task(), message: "tree".into(), fraction });
        bars.event(&Event::StageStarted {
            stage: "10-system".into(),
            title: "System".into(),
            index: 1,
            of: 3,
        });
        bars.event(&Event::StepStarted {
            machine: "controller".into(),
            step: "Names \u{1b}[2J".into(),
            at: "x:1".into(),
        });
        // Drawing is limited in rate; the next tick brings everything.
        std::thread::sleep(3 * TICK);
        bars.finish();
        let drawn = screen.0.lock().unwrap().clone();
        assert!(drawn.contains("25 %  tree"), "{drawn}");
        assert!(drawn.contains("stage 1/3 10-system: System"), "{drawn}");
        assert!(drawn.contains("stage 1/3 10-system · Names"), "{drawn}");
        assert!(!drawn.contains("\u{1b}[2J"), "{drawn}");
        assert!(bars.machines.is_empty() && bars.tasks.is_empty());
    }
}
