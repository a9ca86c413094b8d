//! `labbuild.lock` while bases are made: what `--locked` demands of it before anything is, and
//! entries written one by one, so that two builds of a recipe do not lose each other's.

use std::path::PathBuf;
use std::time::Duration;

use super::BuildError;
use crate::base::Definition;
use crate::digest::Digest;
use crate::host::files;
use crate::plan::{LOCK_FILE, LockFile, LockedBase, MachinePlan, Plan, PlanError};
use crate::store::{Lock, Store, StoreError};

/// Fails where the lock does not say of what packages a base consists (`--locked`).
pub fn demand(plan: &Plan) -> Result<(), BuildError> {
    let is_open = |machine: &&MachinePlan| {
        let by_packages = matches!(machine.definition, Definition::Bootstrap(_));
        by_packages && plan.lock.slice(&machine.name, &machine.inputs).is_none()
    };
    let why = |machine: &MachinePlan| {
        let why = match plan.lock.machines.contains_key(&machine.name) {
            true => "its definition, kickstart, packages or hardware changed after it was locked",
            false => "it is not in the lock",
        };
        format!("base of {}: {why}", machine.name)
    };
    let open: Vec<String> = plan.machines.iter().filter(is_open).map(why).collect();
    match open.is_empty() {
        true => Ok(()),
        false => Err(BuildError::NotLocked { lock: plan.lock_path(), open }),
    }
}

/// The lock file of one recipe, for one who adds to it.
pub struct Entries {
    recipe: PathBuf,
    /// Machines of the lock that the recipe no longer has.
    gone: Vec<String>,
}

impl Entries {
    pub fn of(plan: &Plan) -> Entries {
        let is_gone = |name: &&String| plan.machines.iter().all(|m| m.name != **name);
        let gone = plan.lock.machines.keys().filter(is_gone).cloned().collect();
        Entries { recipe: plan.lab.dir.clone(), gone }
    }

    /// What the file says of a base by now.
    pub fn read(&self, machine: &str, inputs: &Digest) -> Result<Option<LockedBase>, BuildError> {
        let lock = LockFile::read(&self.recipe).map_err(PlanError::from)?;
        Ok(lock.slice(machine, inputs).cloned())
    }

    /// Enters one base; what others have written in the meantime stays.
    pub async fn write(
        &self,
        store: &Store,
        machine: &str,
        locked: &LockedBase,
    ) -> Result<(), BuildError> {
        let _turn = self.turn(store).await?;
        let before = LockFile::read(&self.recipe).map_err(PlanError::from)?;
        let mut lock = before.clone();
        lock.machines.retain(|name, _| !self.gone.contains(name));
        lock.machines.insert(machine.to_owned(), locked.clone());
        if lock == before {
            return Ok(());
        }
        let path = self.recipe.join(LOCK_FILE);
        files::write_atomic(&path, lock.to_text().as_bytes())?;
        Ok(files::share(&path)?)
    }

    /// Writers of one recipe take turns. A turn is over in no time: there is nothing to be said.
    pub(super) async fn turn(&self, store: &Store) -> Result<Lock, StoreError> {
        loop {
            match store.try_lock(&self.turn_name(), "writing labbuild.lock")? {
                Ok(lock) => return Ok(lock),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn turn_name(&self) -> String {
        format!("lockfile-{}", Digest::of(self.recipe.as_os_str().as_encoded_bytes()).short())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn base(version: &str) -> LockedBase {
        let packages = [(format!("bash {version} amd64"), "00".repeat(32))].into();
        LockedBase { inputs: Digest::of("q"), packages }
    }

    /// A folder for a recipe and a store.
    fn ground() -> (tempfile::TempDir, Store, Entries) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join("store")).unwrap();
        let entries = Entries { recipe: root.path().to_owned(), gone: vec!["gone".into()] };
        (root, store, entries)
    }

    fn names(root: &tempfile::TempDir) -> Vec<String> {
        LockFile::read(root.path()).unwrap().machines.into_keys().collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn writers_do_not_lose_each_others_entries() {
        let (root, store, _) = ground();
        let mut writers = tokio::task::JoinSet::new();
        for number in 10..26 {
            let (recipe, store) = (root.path().to_owned(), store.clone());
            writers.spawn(async move {
                let entries = Entries { recipe, gone: vec![] };
                entries.write(&store, &format!("m{number}"), &base("1")).await.unwrap();
            });
        }
        while let Some(written) = writers.join_next().await {
            written.unwrap();
        }
        let all: Vec<String> = (10..26).map(|number| format!("m{number}")).collect();
        assert_eq!(names(&root), all);
    }

    #[tokio::test]
    async fn entries_of_machines_that_are_gone_go_and_those_of_others_stay() {
        let (root, store, entries) = ground();
        let others = Entries { recipe: root.path().to_owned(), gone: vec![] };
        for machine in ["gone", "new"] {
            others.write(&store, machine, &base("1")).await.unwrap();
        }
        entries.write(&store, "mine", &base("2")).await.unwrap();
        assert_eq!(names(&root), ["mine", "new"]);
        assert_eq!(entries.read("mine", &Digest::of("q")).unwrap(), Some(base("2")));
        assert_eq!(entries.read("mine", &Digest::of("another question")).unwrap(), None);
    }

    #[tokio::test]
    async fn a_file_that_says_it_already_is_not_touched() {
        let (root, store, entries) = ground();
        entries.write(&store, "mine", &base("1")).await.unwrap();
        let inode = || {
            let file = std::fs::metadata(root.path().join(LOCK_FILE)).unwrap();
            std::os::unix::fs::MetadataExt::ino(&file)
        };
        let before = inode();
        entries.write(&store, "mine", &base("1")).await.unwrap();
        assert_eq!(inode(), before);
        entries.write(&store, "mine", &base("2")).await.unwrap();
        assert_ne!(inode(), before);
    }
}
