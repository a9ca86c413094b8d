//! Fetching what a base is installed from, before anything of it runs.
//!
//! Two cages with the host's network and without foreign scripts: in the first, apt reads the archives'
//! signed indexes and says what will be installed, stage by stage as it will be; in the second,
//! it downloads what is not kept yet. Every package is held against the digest in the signed index
//! when it comes and each time it is used.

mod apt;
mod cache;
mod download;
mod plan;
mod resolve;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::progress::{Lines, Task};
use super::{BaseError, spec::read_json};
use crate::digest::Digest;
use crate::host::HostError;
use crate::host::cage::{Cage, Rules};

pub use download::download_main;
pub use resolve::resolve_main;

/// The scratch folder of a cage that fetches, in MiB: indexes, or some packages.
const SCRATCH_MIB: u64 = 4096;
/// The largest index or package.
const LARGEST: u64 = 4 << 30;
/// All indexes together, or all packages.
const ALL: u64 = 16 << 30;
const PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// What is to be found out: the content of `ask.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ask {
    pub architecture: String,
    pub suite: String,
    /// mmdebstrap's word for the package set below everything else.
    pub variant: String,
    /// One-line apt sources.
    pub sources: Vec<String>,
    /// Whether mmdebstrap's default sources belong to them.
    pub default_sources: bool,
    /// Keys of sources, by file name.
    pub keys: BTreeMap<String, String>,
    /// The host's apt settings on how to download.
    pub settings: Vec<String>,
    /// Packages of the definition and the kickstart.
    pub include: Vec<String>,
    /// Globs of packages that are purged after these.
    pub excluded: Vec<String>,
    /// Packages of steps, installed last.
    pub extra: Vec<String>,
}

/// What was found out: the content of `resolved.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// The sources, one to a line.
    pub sources: String,
    pub packages: Vec<Wanted>,
}

/// A package file, as the signed index names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// As apt calls it in its cache.
    pub file: String,
    pub uri: String,
    pub size: u64,
    pub sha256: Digest,
}

/// Names of files that are handed in and out.
pub mod names {
    pub const ASK: &str = "ask.json";
    pub const RESOLVED: &str = "resolved.json";
    /// Folder of apt's lists.
    pub const LISTS: &str = "lists";
    /// Folder of keys.
    pub const KEYS: &str = "keys";
    pub const MISSING: &str = "missing.json";
    /// Folder of packages.
    pub const DEBS: &str = "debs";
}

/// Everything that a tree is made from.
pub struct Fetched {
    pub resolved: Resolved,
    /// Folder of the lists that apt verified.
    pub lists: PathBuf,
    /// Where each package is, in the order of `resolved.packages`.
    pub debs: Vec<PathBuf>,
}

/// How to fetch for one base.
pub struct Fetch<'a> {
    /// labbuild itself.
    pub program: &'a Path,
    /// Work folder.
    pub work: &'a Path,
    /// Folder of kept packages.
    pub kept: &'a Path,
    pub task: &'a Task,
    pub epoch: u64,
}

impl Fetch<'_> {
    /// Resolves and downloads.
    pub async fn run(&self, ask: &Ask) -> Result<Fetched, BaseError> {
        let found = self.resolve(ask).await?;
        let resolved: Resolved = read_json(&found.join(names::RESOLVED))?;
        plan::check(&resolved.packages)?;
        let missing = cache::missing(self.kept, &resolved.packages)?;
        if !missing.is_empty() {
            self.download(ask, &missing).await?;
        }
        let debs = resolved.packages.iter().map(|wanted| cache::path(self.kept, wanted));
        Ok(Fetched { debs: debs.collect(), lists: found.join(names::LISTS), resolved })
    }

    async fn resolve(&self, ask: &Ask) -> Result<PathBuf, BaseError> {
        let cage = self.cage("resolve")?;
        cage.input(names::ASK, &to_json(ask)?)?;
        for (name, text) in &ask.keys {
            cage.input(&format!("{}/{name}", names::KEYS), text.as_bytes())?;
        }
        self.inside(&cage, "resolve").await?;
        let results = self.work.join("resolved");
        cage.take_results(&results, ALL)?;
        Ok(results)
    }

    async fn download(&self, ask: &Ask, missing: &[Wanted]) -> Result<(), BaseError> {
        let cage = self.cage("download")?;
        cage.input(names::ASK, &to_json(ask)?)?;
        cage.input(names::MISSING, &to_json(&missing)?)?;
        self.inside(&cage, "download").await?;
        let results = self.work.join("downloaded");
        cage.take_results(&results, ALL)?;
        for wanted in missing {
            cache::keep(self.kept, wanted, &results.join(names::DEBS).join(&wanted.file))?;
        }
        Ok(crate::host::files::remove(&results)?)
    }

    fn cage(&self, name: &str) -> Result<Cage, HostError> {
        let rules = Rules {
            network: true,
            memory_mib: super::scratch::in_memory(SCRATCH_MIB),
            largest_file: LARGEST,
            time: PATIENCE,
            epoch: self.epoch,
        };
        Cage::new(&self.work.join(name), self.program, rules)
    }

    async fn inside(&self, cage: &Cage, role: &str) -> Result<(), HostError> {
        let mut lines = Lines::default();
        let words = [crate::host::cage::SELF, "internal", role];
        let run = cage.run(&words, |line| {
            if let Some((message, fraction)) = lines.read(line) {
                self.task.say(&message, fraction);
            }
        });
        run.await
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, BaseError> {
    serde_json::to_vec(value).map_err(|e| BaseError::Needs(format!("cannot be written down: {e}")))
}
