//! `ec2t sweep`: ternarize a float network with many settings, or search for one.
//!
//! Each point is a run in a folder of the run: see [`crate::sweep`]. A sweep that was
//! stopped goes on with the same command; what is finished is not trained again.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, anyhow};
use clap::{ArgGroup, Args};
use ec2t_format::Network;
use ec2t_quant::assigned_sparsity;
use ec2t_quant::ec2t::Method;

use super::train::{HowArgs, validation_top1};
use crate::command_log::noted;
use crate::engine::EngineArgs;
use crate::exit::Usage;
use crate::output::{print, print_json, tell, write_json};
use crate::progress::stop_on_interrupt;
use crate::run_dir::{RunArgs, RunDir};
use crate::sweep::bracket::{Bracket, round};
use crate::sweep::goal::{Goal, Knob};
use crate::sweep::point::Point;
use crate::sweep::results::{Row, Search, Sweep};

/// The most points of a search.
const PROBES: usize = 8;

/// Ternarize a trained network with many settings, or search for one.
#[derive(Args)]
#[command(group = ArgGroup::new("goal").args(["target_sparsity", "target_size", "max_drop"]))]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    how: HowArgs,
    /// The method.
    #[arg(long, value_name = "ec2t|reference|ttq|twn")]
    method: Option<Method>,
    /// Strengths of the pull to 0, for ec2t.
    #[arg(long, value_delimiter = ',', value_name = "NUMBER,…")]
    gamma: Vec<f64>,
    /// First magnitudes of a and b, as a fraction of the extreme weights, for ec2t.
    #[arg(long, value_delimiter = ',', value_name = "NUMBER,…")]
    init_scale: Vec<f64>,
    /// Thresholds, for ttq and twn.
    #[arg(long, value_delimiter = ',', value_name = "NUMBER,…")]
    threshold: Vec<f64>,
    /// Seeds; the validation images stay those of the run.
    #[arg(long, value_delimiter = ',', value_name = "NUMBER,…")]
    seed: Vec<u32>,
    /// Search the gamma, or the threshold, that gives this share of zeros among all
    /// trained values, from 0 to 1.
    #[arg(long, value_parser = share, value_name = "SHARE")]
    target_sparsity: Option<f64>,
    /// Search the largest model file of at most so many bytes.
    #[arg(long, value_name = "BYTES")]
    target_size: Option<usize>,
    /// Search the sparsest network whose validation accuracy is at most so many points
    /// below that of the float network.
    #[arg(long, value_parser = not_negative, value_name = "POINTS")]
    max_drop: Option<f64>,
    /// How near a search has to come, as a share of zeros; with --target-size, as a share of
    /// that.
    #[arg(long, default_value = "0.005", value_parser = share, value_name = "SHARE")]
    #[arg(requires = "goal")]
    tolerance: f64,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// A share, as an argument.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "must be from 0 to 1".to_owned())
}

fn not_negative(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|&value: &f64| value >= 0.0 && value.is_finite());
    value.ok_or_else(|| "must be a number from 0".to_owned())
}

impl SweepArgs {
    pub(crate) fn run(self) -> Result<()> {
        let run = self.run.open()?;
        let float = float_network(&run)?;
        run.data()?;
        let mut base = Point::of(&run.config);
        base.method.method = self.method.unwrap_or(base.method.method);
        self.check_method(base.method.method)?;
        let points = self.points(base);
        for point in &points {
            point.config(&run)?;
        }
        self.check_search(base.method.method, &points)?;
        self.check_target(&run)?;
        let stop = stop_on_interrupt()?;
        match self.goal(&run, &float)? {
            None => self.grid(&run, &points, &stop),
            Some(goal) => {
                let probe = || self.search(&run, &float, goal, points[0], &stop);
                let (rows, bracket) = noted(run.path(), "sweep", false, probe)?;
                self.conclude(&run, goal, &rows, &bracket)
            }
        }
    }

    fn is_search(&self) -> bool {
        self.target_sparsity.is_some() || self.target_size.is_some() || self.max_drop.is_some()
    }

    /// What is sought, if anything is.
    fn goal(&self, run: &RunDir, float: &Network) -> Result<Option<Goal>> {
        let sparsity = self.target_sparsity.map(Goal::TargetSparsity);
        let goal = sparsity.or(self.target_size.map(Goal::TargetSize));
        let Some(points) = self.max_drop else { return Ok(goal) };
        Ok(Some(Goal::MaxDrop { points, float_top1: validation_top1(run, float)? }))
    }

    /// Refuses values of settings that the method does not read.
    fn check_method(&self, method: Method) -> Result<(), Usage> {
        let given = [
            ("--gamma", self.gamma.len()),
            ("--init-scale", self.init_scale.len()),
            ("--threshold", self.threshold.len()),
        ];
        let idle = |flag: &str| (flag == "--threshold") == method.is_constrained();
        match given.into_iter().find(|&(flag, values)| values > 0 && idle(flag)) {
            Some((flag, _)) => {
                Err(Usage(format!("{flag} changes nothing with the method {method}; see --method")))
            }
            None => Ok(()),
        }
    }

    /// All combinations of the values given, each once.
    fn points(&self, base: Point) -> Vec<Point> {
        let points = spread(vec![base], &self.gamma, |point, &gamma| point.method.gamma = gamma);
        let points = spread(points, &self.init_scale, |p, &scale| p.method.init_scale = scale);
        let points = spread(points, &self.threshold, |p, &limit| p.method.threshold = limit);
        let points = spread(points, &self.seed, |point, &seed| point.seed = seed.into());
        let mut once: Vec<Point> = Vec::new();
        for point in points {
            if !once.contains(&point) {
                once.push(point);
            }
        }
        once
    }

    /// Refuses settings that leave a search nothing to find, or more than one thing.
    fn check_search(&self, method: Method, points: &[Point]) -> Result<(), Usage> {
        let (flag, searched) = match method.is_constrained() {
            true => ("--gamma", &self.gamma),
            false => ("--threshold", &self.threshold),
        };
        match self.is_search() && (points.len() > 1 || !searched.is_empty()) {
            true => Err(Usage(format!(
                "a search finds {flag} itself and takes one value of every other setting"
            ))),
            false => Ok(()),
        }
    }

    /// Refuses strengths that the run's settings would move at once.
    fn check_target(&self, run: &RunDir) -> Result<(), Usage> {
        let strengths = self.gamma.len() + self.threshold.len();
        let moved = run.config.ternarize.target_sparsity > 0.0;
        match moved && (strengths > 0 || self.is_search()) {
            true => Err(Usage(
                "ternarize.target_sparsity in config.toml moves the strength itself; set it to 0"
                    .into(),
            )),
            false => Ok(()),
        }
    }

    fn grid(&self, run: &RunDir, points: &[Point], stop: &AtomicBool) -> Result<()> {
        let sweep = noted(run.path(), "sweep", false, || {
            let progress = || write(run, &Sweep::new(&finished(run, points)?, None));
            self.train(run, points, stop, progress)?;
            let sweep = Sweep::new(&finished(run, points)?, None);
            write(run, &sweep)?;
            Ok(sweep)
        })?;
        self.print(run, &sweep)
    }

    /// Trains what is missing of the points; `progress` is called whenever some more are
    /// finished.
    fn train(
        &self,
        run: &RunDir,
        points: &[Point],
        stop: &AtomicBool,
        progress: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let place = run.join("sweep").join("slurm");
        self.engine.settle(&place, stop)?;
        let task = |point: &Point| point.task(run, &self.how, &self.engine);
        let tasks = points.iter().map(task).collect::<Result<Vec<_>>>()?;
        self.engine.run(&tasks, &place, stop, progress)
    }

    /// Trains points that differ from `first` in one setting until the goal is met.
    fn search(
        &self,
        run: &RunDir,
        float: &Network,
        goal: Goal,
        first: Point,
        stop: &AtomicBool,
    ) -> Result<(Vec<Row>, Bracket)> {
        let knob = Knob::of(first.method.method);
        let mut bracket = Bracket::new(knob.domain);
        let mut rows: Vec<Row> = Vec::new();
        let mut next = Some(match goal {
            Goal::TargetSparsity(target) => knob.for_sparsity(float, first.method, target)?,
            Goal::TargetSize(_) | Goal::MaxDrop { .. } => round(knob.get(first.method)),
        });
        while let Some(at) = next {
            let point = Point { method: knob.set(first.method, at), ..first };
            let number = rows.len() + 1;
            tell(format_args!("step {number} of at most {PROBES}"));
            self.train(run, &[point], stop, || Ok(()))?;
            let row = point.row(run)?;
            bracket.record(at, goal.excess(&row));
            rows.push(row);
            write(run, &Sweep::new(&rows, None))?;
            if number == PROBES || goal.is_met(&rows, self.tolerance) {
                break;
            }
            let aim = goal.aim(&rows, assigned_sparsity(float, &point.method)?);
            next = bracket.next(knob.for_sparsity(float, first.method, aim)?);
        }
        Ok((rows, bracket))
    }

    /// Says what a search has found; an error where that is not what was sought.
    fn conclude(&self, run: &RunDir, goal: Goal, rows: &[Row], bracket: &Bracket) -> Result<()> {
        let verdict = goal.verdict(rows, self.tolerance, bracket);
        let found = goal.pick(rows).map(|row| row.point.name());
        let (tolerance, reached) = (self.tolerance, verdict.is_ok());
        let sweep = Sweep::new(rows, Some(Search { goal, tolerance, found, reached }));
        write(run, &sweep)?;
        self.print(run, &sweep)?;
        verdict.map(tell).map_err(|reason| anyhow!(reason))
    }

    fn print(&self, run: &RunDir, sweep: &Sweep) -> Result<()> {
        if self.json {
            return print_json(sweep);
        }
        let folder = run.join("sweep");
        print(&format!(
            "{}* no other point is as accurate in fewer bytes, or more accurate in as many\n\
             Test images were not looked at. `ec2t eval --run-dir {}` does that, for the point \
             of your choice.",
            sweep.table(),
            folder.join("POINT").display(),
        ))
    }
}

/// Every point with each of the values, or as it is where there are none.
fn spread<T>(points: Vec<Point>, values: &[T], set: impl Fn(&mut Point, &T)) -> Vec<Point> {
    if values.is_empty() {
        return points;
    }
    let with = |(point, value): (&Point, &T)| {
        let mut point = *point;
        set(&mut point, value);
        point
    };
    points
        .iter()
        .flat_map(|point| values.iter().map(move |value| (point, value)))
        .map(with)
        .collect()
}

/// The run's float network, which a sweep begins with.
fn float_network(run: &RunDir) -> Result<Network> {
    let file = run.join(Path::new("pretrain").join("best.safetensors"));
    if !file.exists() {
        return Err(Usage(format!(
            "a sweep begins with a float network, and {} is not there; `ec2t train` writes it",
            file.display()
        ))
        .into());
    }
    run.network("pretrain", "train")
}

/// What came of the points that are finished.
fn finished(run: &RunDir, points: &[Point]) -> Result<Vec<Row>> {
    points.iter().filter(|point| point.is_finished(run)).map(|point| point.row(run)).collect()
}

fn write(run: &RunDir, sweep: &Sweep) -> Result<()> {
    write_json(&run.join("sweep").join("sweep.json"), sweep)
}
