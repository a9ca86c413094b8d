//! A base of kind *bootstrap*, from the outside: checks first, then packages are fetched, then mmdebstrap
//! makes the tree in its cage, then the disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::accept::{accept, fault_at};
use super::definition::{Bootstrap, is_package};
use super::fetch::{Ask, Fetch, Fetched, names};
use super::progress::{Lines, Task};
use super::scratch::{check_programs, in_memory};
use super::spec::{Complaint, Spec, TreeFile, Wishes, out, read_json};
use super::{BaseError, Built, LockedPackage, Request, image, sources, text};
use crate::event::Events;
use crate::host::cage::{self, Cage, IN, OUT, Rules, SELF};
use crate::host::{HostError, files};
use crate::recipe::Faults;

/// Free memory from which on a tree is made in it, in MiB.
const MEMORY_WANTED: u64 = 4 * 1024;
/// The longest that making a tree may take.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// What the tree's part hands out: boot loader, list of packages, warnings.
const RESULTS: u64 = 64 << 20;
/// The handed-in specification.
const SPEC: &str = "spec.json";
/// Where the cages find keys.
const KEYS: &str = "/in/keys";
/// The handed-in sources.
const SOURCES: &str = "sources.list";

/// Folders of one build inside the work folder.
struct Places {
    fetch: PathBuf,
    cage: PathBuf,
    out: PathBuf,
    debs: PathBuf,
}

impl Places {
    fn new(work_dir: &Path) -> Self {
        let at = |name: &str| work_dir.join(name);
        Places { fetch: at("fetch"), cage: at("cage"), out: at("out"), debs: at("debs") }
    }

    /// What an earlier build that was ended has left.
    async fn clear(&self) -> Result<(), BaseError> {
        for folder in [&self.fetch, &self.cage, &self.out] {
            super::discard(folder).await?;
        }
        Ok(files::create_dir(&self.fetch)?)
    }
}

/// Makes the base disk of one machine in `work_dir` (created if absent).
///
/// All that can be known to be wrong is reported before the long work begins. Dropping the
/// future ends every process it started; the work folder can then be removed with
/// [`discard`](super::discard).
pub async fn bootstrap(
    definition: &Bootstrap,
    request: &Request,
    work_dir: &Path,
    events: &Events,
) -> Result<Built, BaseError> {
    let wishes = accept(definition, request)?;
    check_packages(&request.extra_packages)?;
    check_clock(definition)?;
    check_programs(&["setpriv", "unshare", "mmdebstrap", "sfdisk", "qemu-img"]).await?;
    image::check_tools().await?;
    files::create_dir(work_dir)?;
    let work_dir = &work_dir.canonicalize().map_err(HostError::file("find", work_dir))?;
    let title = format!("{} for {}", definition.title, request.machine);
    let task = Task::start(events, format!("base/{}", request.machine), title, &request.machine);

    let places = Places::new(work_dir);
    places.clear().await?;
    demand_proof(&request.program, &places.fetch).await?;
    let spec = make_spec(definition, request, wishes);
    let fetched = fetch(definition, request, &spec, &places, &task).await?;
    let cage = make_tree(definition, request, &spec, &fetched, &places, &task).await?;
    pass_warnings_on(request, &places.out, events)?;
    let disk = image::Disk {
        partitions: spec.wishes.partitions.clone(),
        ids: request.ids.clone(),
        size: request.disk.0,
        epoch: definition.time,
    };
    let (tar, out, program) = (&cage.stdout(), &places.out, &request.program);
    let input = image::Input { disk: &disk, tar, out, program };
    let disk = image::write(&input, work_dir, &task).await?;
    let packages: Vec<LockedPackage> = read_json(&places.out.join(out::PACKAGES))?;
    places.clear().await?;
    task.done();
    Ok(Built { disk, virtual_size: request.disk, packages })
}

fn check_packages(names: &[String]) -> Result<(), BaseError> {
    match names.iter().find(|n| !is_package(n)) {
        Some(bad) => Err(BaseError::Needs(format!(
            "`{bad}` is not a package name that a base can install\n  letters, digits and `+-.` only; versions and wildcards need `install: in-guest`"
        ))),
        None => Ok(()),
    }
}

/// Dates of files are cut down to the definition's time, so the present must not be before it.
fn check_clock(definition: &Bootstrap) -> Result<(), BaseError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    if now >= definition.time {
        return Ok(());
    }
    Err(BaseError::Needs(
        "the clock of this host is before the `time:` of the base definition, so file dates would differ from build to build\n  set the clock, or an earlier `time:` in the definition".to_owned(),
    ))
}

/// Nothing foreign runs where the cage does not hold; once a run is enough.
async fn demand_proof(program: &Path, dir: &Path) -> Result<(), BaseError> {
    static PROVEN: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let prove = || async {
        let proof = cage::prove(&dir.join("proof"), program).await?;
        if proof.escapes.is_empty() {
            return Ok(());
        }
        let ways = proof.escapes.join("\n  - ");
        Err(BaseError::Needs(format!(
            "scripts of packages and kickstarts could leave their cage on this host, so none is run:\n  - {ways}\n  `labbuild doctor` tries it again"
        )))
    };
    PROVEN.get_or_try_init(prove).await.copied()
}

fn make_spec(definition: &Bootstrap, request: &Request, wishes: Wishes) -> Spec {
    let installed: BTreeSet<&String> = request.extra_packages.iter().collect();
    Spec {
        out: OUT.into(),
        architecture: definition.architecture.clone(),
        debconf: definition.debconf.clone(),
        disable: definition.disable.clone(),
        first_start: definition.first_start.clone(),
        extra_packages: installed.into_iter().cloned().collect(),
        files: tree_files(definition, request, &wishes),
        sources: sources::of_guest(&definition.sources),
        early_grub: text::early_grub(&request.ids),
        machine_id: request.ids.machine_id.clone(),
        epoch: definition.time,
        wishes,
    }
}

fn tree_files(definition: &Bootstrap, request: &Request, wishes: &Wishes) -> Vec<TreeFile> {
    let mut files = text::tree_files(wishes, &request.nics, &request.ids, &definition.cmdline);
    let folder = sources::GUEST_KEYS.trim_start_matches('/');
    files.extend(definition.keys.iter().map(|(name, text)| TreeFile {
        path: format!("{folder}/{name}"),
        content: text.clone(),
        mode: 0o644,
    }));
    files
}

async fn fetch(
    definition: &Bootstrap,
    request: &Request,
    spec: &Spec,
    places: &Places,
    task: &Task,
) -> Result<Fetched, BaseError> {
    let fetch = Fetch {
        program: &request.program,
        work: &places.fetch,
        kept: request.deb_cache.as_ref().unwrap_or(&places.debs),
        task,
        epoch: definition.time,
    };
    let ask = ask(definition, spec).await;
    fetch.run(&ask).await.map_err(|error| match error {
        BaseError::Host(error) => words_of(request, spec, error, "packages could not be fetched"),
        other => other,
    })
}

async fn ask(definition: &Bootstrap, spec: &Spec) -> Ask {
    let (lines, default_sources) = sources::for_build(&definition.sources, KEYS).await;
    Ask {
        architecture: definition.architecture.clone(),
        suite: definition.suite.clone(),
        variant: definition.variant.clone(),
        sources: lines,
        default_sources,
        keys: definition.keys.clone(),
        settings: sources::host_settings().await,
        include: include(definition, spec),
        excluded: spec.wishes.excluded.iter().map(|p| p.value.clone()).collect(),
        extra: spec.extra_packages.clone(),
    }
}

fn include(definition: &Bootstrap, spec: &Spec) -> Vec<String> {
    let kickstart = spec.wishes.packages.iter().map(|p| &p.value);
    let include: BTreeSet<&String> = definition.packages.iter().chain(kickstart).collect();
    include.into_iter().cloned().collect()
}

async fn make_tree(
    definition: &Bootstrap,
    request: &Request,
    spec: &Spec,
    fetched: &Fetched,
    places: &Places,
    task: &Task,
) -> Result<Cage, BaseError> {
    let cage = Cage::new(&places.cage, &request.program, rules(definition, request))?;
    hand_in(&cage, spec, fetched)?;
    let mut lines = Lines::default();
    let arguments = mmdebstrap(definition, spec);
    let run = cage.run(&arguments, |line| {
        if let Some((message, fraction)) = lines.read(line) {
            task.say(&message, fraction);
        }
    });
    let ended = run.await;
    let handed_out = cage.take_results(&places.out, RESULTS);
    match ended {
        Ok(()) => handed_out.map(|()| cage).map_err(Into::into),
        Err(error) => Err(tree_error(request, spec, &places.out, error)),
    }
}

fn rules(definition: &Bootstrap, request: &Request) -> Rules {
    Rules {
        network: false,
        memory_mib: request.in_memory.then(|| in_memory(MEMORY_WANTED)).flatten(),
        // A tree that does not fit on its disk is of no use.
        largest_file: request.disk.0,
        time: PATIENCE,
        epoch: definition.time,
    }
}

fn hand_in(cage: &Cage, spec: &Spec, fetched: &Fetched) -> Result<(), BaseError> {
    let text = serde_json::to_vec(spec)
        .map_err(|e| BaseError::Handover { path: SPEC.into(), reason: e.to_string() })?;
    cage.input(SPEC, &text)?;
    cage.input(SOURCES, fetched.resolved.sources.as_bytes())?;
    for (wanted, deb) in fetched.resolved.packages.iter().zip(&fetched.debs) {
        cage.input_link(&format!("{}/{}", names::DEBS, wanted.file), deb)?;
    }
    let lists = std::fs::read_dir(&fetched.lists);
    for list in lists.map_err(HostError::file("list", &fetched.lists))?.flatten() {
        let name = format!("{}/{}", names::LISTS, list.file_name().to_string_lossy());
        cage.input_link(&name, &list.path())?;
    }
    Ok(())
}

/// mmdebstrap with everything at hand: it has no network.
fn mmdebstrap(definition: &Bootstrap, spec: &Spec) -> Vec<String> {
    // The one line that passes a shell; the folder of the tree is its first parameter.
    let hook = format!("{SELF} internal customize {IN}/{SPEC} \"$1\"");
    let mut words = vec![
        "mmdebstrap".to_owned(),
        "--verbose".to_owned(),
        "--mode=root".to_owned(),
        "--format=tar".to_owned(),
        format!("--architectures={}", definition.architecture),
        format!("--variant={}", definition.variant),
        "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
        // The first would take the machine-id away, the second the packages meant for later.
        "--skip=cleanup/reproducible,essential/unlink,update".to_owned(),
    ];
    let include = include(definition, spec);
    if !include.is_empty() {
        words.push(format!("--include={}", include.join(",")));
    }
    for phase in ["setup", "essential", "customize"] {
        words.push(format!("--{phase}-hook={hook}"));
    }
    words.extend([definition.suite.clone(), "-".to_owned(), format!("{IN}/{SOURCES}")]);
    words
}

/// What went wrong, in the words of the part that knows: complaints from inside the tree, an
/// unknown package with its line, or the tools' own last lines.
fn tree_error(request: &Request, spec: &Spec, out: &Path, error: HostError) -> BaseError {
    let complaints = read_json::<Vec<Complaint>>(&out.join(out::COMPLAINTS)).unwrap_or_default();
    if !complaints.is_empty() {
        return complaints_error(request, complaints);
    }
    words_of(request, spec, error, "mmdebstrap failed")
}

/// An unknown package with its line, or the tools' own last lines.
fn words_of(request: &Request, spec: &Spec, error: HostError, what: &str) -> BaseError {
    let HostError::Failed { stderr, status, .. } = &error else { return error.into() };
    let unknown = unknown_packages(spec, stderr);
    if !unknown.is_empty() {
        return complaints_error(request, unknown);
    }
    BaseError::Tree { machine: request.machine.clone(), reason: last_words(what, status, stderr) }
}

fn complaints_error(request: &Request, complaints: Vec<Complaint>) -> BaseError {
    let (placed, bare): (Vec<_>, Vec<_>) = complaints.into_iter().partition(|c| c.line.is_some());
    if bare.is_empty() {
        let fault =
            |c: Complaint| fault_at(&request.kickstart, c.line.unwrap_or(1), c.message, c.help);
        return BaseError::Faults(Faults(placed.into_iter().map(fault).collect()));
    }
    let reasons = bare.into_iter().chain(placed).map(|c| match c.help {
        Some(help) => format!("{}\n  {help}", c.message),
        None => c.message,
    });
    let reason = reasons.collect::<Vec<_>>().join("\n");
    BaseError::Tree { machine: request.machine.clone(), reason }
}

fn unknown_packages(spec: &Spec, stderr: &str) -> Vec<Complaint> {
    let names: BTreeSet<&str> = stderr
        .lines()
        .filter_map(|l| {
            // The part in the cage shows its tools' last lines so.
            let l = l.trim_start_matches([' ', '|']);
            let missing = l.strip_prefix("E: Unable to locate package ");
            missing.or_else(|| {
                let rest = l.strip_prefix("E: Package '")?;
                rest.strip_suffix("' has no installation candidate")
            })
        })
        .collect();
    names
        .into_iter()
        .map(|name| Complaint {
            line: spec.wishes.packages.iter().find(|p| p.value == name).map(|p| p.line),
            message: format!("this system has no package `{name}`"),
            help: Some(
                "names differ between systems; `apt-cache search` in a machine finds them"
                    .to_owned(),
            ),
        })
        .collect()
}

fn last_words(what: &str, status: &str, stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.starts_with("I: ") && !l.starts_with("W: "))
        .collect();
    let tail = &lines[lines.len().saturating_sub(15)..];
    let tail: String = tail.iter().map(|l| format!("\n  | {l}")).collect();
    if tail.is_empty() { format!("{what}: it {status}") } else { format!("{what}{tail}") }
}

fn pass_warnings_on(request: &Request, out: &Path, events: &Events) -> Result<(), BaseError> {
    let path = out.join(out::WARNINGS);
    if !path.exists() {
        return Ok(());
    }
    for warning in read_json::<Vec<Complaint>>(&path)? {
        let place = warning.line.map(|l| format!("{}:{l}: ", request.kickstart.name));
        let help = warning.help.map(|h| format!("\n{h}")).unwrap_or_default();
        events.warning(format!("{}{}{help}", place.unwrap_or_default(), warning.message));
    }
    Ok(())
}
