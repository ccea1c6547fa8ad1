//! `ec2t scale search`: from a grid of multipliers to a network that is accurate enough.
//!
//! Each point is a run in a folder of the run: see [`crate::search`]. A search that was
//! stopped goes on with the same command; what is finished is not trained again.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use ec2t_scale::Grid;

use super::sweep::share;
use super::train::HowArgs;
use crate::command_log::noted;
use crate::engine::EngineArgs;
use crate::exit::Usage;
use crate::new_run::NewRunArgs;
use crate::output::{print, print_json, tell, write_json};
use crate::progress::stop_on_interrupt;
use crate::run_dir::RunDir;
use crate::search::point::Point;
use crate::search::results::{Row, Search, best};

/// Largest φ unless given: beyond it EC2T found nothing more to gain.
const MAX_PHI: u32 = 4;

/// Find out how to scale an architecture, and how far.
#[derive(Args)]
pub(crate) struct SearchArgs {
    /// Folder of the search [default: runs/ARCH-DATASET-search].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Folder that holds the dataset's own folder.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    new: NewRunArgs,
    /// Multipliers of depth and width to compare [default: 1:1, and all multiples of a tenth
    /// from 1 to below 2 with depth · width² from 1.9 to 2.1].
    #[arg(long, value_delimiter = ',', value_name = "DEPTH:WIDTH,…")]
    grid: Vec<Point>,
    /// Scale the best by φ = 2, 3, … until this share of the validation images is right.
    #[arg(long, value_parser = share, value_name = "SHARE")]
    until: Option<f64>,
    /// The largest φ; 1 trains the grid alone.
    #[arg(long, default_value_t = MAX_PHI, value_parser = clap::value_parser!(u32).range(1..=8))]
    max_phi: u32,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl SearchArgs {
    pub(crate) fn run(self) -> Result<()> {
        let grid = self.points()?;
        let run = self.open()?;
        let stop = stop_on_interrupt()?;
        let search = noted(run.path(), "search", false, || self.search(&run, &grid, &stop))?;
        self.conclude(&search)
    }

    /// Trains the grid, and then its best point scaled until that is good enough.
    fn search(&self, run: &RunDir, grid: &[Point], stop: &AtomicBool) -> Result<Search> {
        let rows = self.train(run, grid, stop)?;
        let mut scaled: Vec<Row> = Vec::new();
        let mut search = self.write(run, &rows, &scaled)?;
        let best = best(&rows).context("no point of the grid grows")?.point;
        tell(format_args!("the best of the grid is {best}"));
        for phi in 2..=self.max_phi {
            if search.is_reached() {
                break;
            }
            let point = Point { phi: phi.into(), ..best };
            scaled.append(&mut self.train(run, &[point], stop)?);
            search = self.write(run, &rows, &scaled)?;
        }
        Ok(search)
    }

    /// The points at φ = 1.
    fn points(&self) -> Result<Vec<Point>, Usage> {
        let mut points = self.grid.clone();
        if points.is_empty() {
            points.push(Point { depth: 1.0, width: 1.0, phi: 1.0 });
            points.extend(Grid::default().points().into_iter().map(Point::from));
        }
        match points.iter().any(Point::grows) {
            true => Ok(points),
            false => Err(Usage("--grid needs a point with a multiplier above 1".into())),
        }
    }

    fn open(&self) -> Result<RunDir> {
        let (Some(arch), Some(dataset)) = self.new.names() else {
            return Err(Usage("a search needs --arch NAME and --dataset NAME".into()).into());
        };
        let folder = Path::new("runs").join(format!("{arch}-{dataset}-search"));
        let folder = self.run_dir.clone().unwrap_or(folder);
        self.new.open(Some(folder), self.data_dir.clone(), self.how.restarts())
    }

    /// Trains what is missing of the points; gives what came of all.
    fn train(&self, run: &RunDir, points: &[Point], stop: &AtomicBool) -> Result<Vec<Row>> {
        let place = run.join("search").join("slurm");
        self.engine.settle(&place, stop)?;
        let task = |point: &Point| point.task(run, &self.how, &self.engine);
        let tasks = points.iter().map(task).collect::<Result<Vec<_>>>()?;
        self.engine.run(&tasks, &place, stop, || Ok(()))?;
        points.iter().map(|point| point.row(run)).collect()
    }

    /// Writes what is known.
    fn write(&self, run: &RunDir, grid: &[Row], scaled: &[Row]) -> Result<Search> {
        let search = Search::new(grid, scaled, self.until.map(|share| 100.0 * share));
        write_json(&run.join("search").join("search.json"), &search)?;
        Ok(search)
    }

    /// Prints what was found; an error where that is not what was sought.
    fn conclude(&self, search: &Search) -> Result<()> {
        match self.json {
            true => print_json(search)?,
            false => print(&format!("{}* the best of the grid", search.table()))?,
        }
        match self.until {
            Some(share) if !search.is_reached() => Err(anyhow!(
                "no point has {:.2} % up to {}; see --max-phi",
                100.0 * share,
                search.largest()
            )),
            _ => Ok(()),
        }
    }
}
