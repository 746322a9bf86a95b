//! Child processes and temporary folders that never outlive this process.
//!
//! Each child runs in a process group of its own. A [`Process`] or [`Folder`] that is dropped kills
//! its group or removes its files; SIGINT, SIGTERM, SIGHUP and SIGQUIT do so with all of them before
//! they end this process. Statics are never dropped: keep neither in a `static`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The time between two looks at a process that is waited for.
const POLL: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Known {
    children: HashMap<u32, Child>,
    folders: HashSet<PathBuf>,
}

fn known() -> MutexGuard<'static, Known> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cleans up when a signal ends this process.
fn install_signal_handlers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])
            .expect("none of these signals is reserved");
        thread::spawn(move || {
            for signal in &mut signals {
                // Locked to the end, so that no child can start after the others are killed.
                let mut known = known();
                known.children.values_mut().for_each(kill);
                known.folders.iter().for_each(|folder| drop(fs::remove_dir_all(folder)));
                let _ = emulate_default_handler(signal);
            }
        });
    });
}

/// Kills a child's group, unless the child has been waited for: another process may have its id then.
fn kill(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        let _ = child.wait();
    }
}

/// A child process with a temporary folder, which holds the log of its output.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    folder: Folder,
}

impl Process {
    /// Starts `command`. Its output goes to a log in `folder`, which is also its `TMPDIR`.
    pub fn start(command: &mut Command, folder: Folder) -> io::Result<Self> {
        let log = File::create(folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        // A killed process does not remove its own temporary files.
        command.env("TMPDIR", folder.path());
        install_signal_handlers();
        let mut known = known();
        let child = command.spawn()?;
        let pid = child.id();
        known.children.insert(pid, child);
        Ok(Self { pid, folder })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Opens the log, which grows while the process runs.
    pub fn open_log(&self) -> io::Result<File> {
        File::open(self.folder().join("log"))
    }

    /// The exit status, if the process has ended.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        known().children.get_mut(&self.pid).expect("known until dropped").try_wait()
    }

    /// Waits for the end of the process, for at most `limit`.
    pub fn wait(&self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.ended()?;
            if status.is_some() || start.elapsed() >= limit {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// Sends SIGTERM, and waits for at most `limit`: then the error is `TimedOut`.
    pub fn terminate(&self, limit: Duration) -> io::Result<ExitStatus> {
        if let Some(child) = known().children.get_mut(&self.pid)
            && child.try_wait()?.is_none()
        {
            kill_process(Pid::from_child(child), Signal::TERM)?;
        }
        self.wait(limit)?.ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = known().children.remove(&self.pid) {
            kill(&mut child);
        }
    }
}

/// A temporary folder.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Creates a folder in the system's folder for temporary files.
    pub fn new() -> io::Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// Creates a folder in `parent`, which is created if needed.
    pub fn within(parent: &Path) -> io::Result<Self> {
        install_signal_handlers();
        fs::create_dir_all(parent)?;
        let mut known = known();
        let path = tempfile::Builder::new().prefix(".header-gate-").tempdir_in(parent)?.keep();
        known.folders.insert(path.clone());
        Ok(Self(path))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder permanent as `path`. If another process did so first, its folder stays.
    pub fn keep_as(self, path: &Path) -> io::Result<()> {
        match fs::rename(&self.0, path) {
            Err(error) if !path.is_dir() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut known = known();
        let _ = fs::remove_dir_all(&self.0);
        known.folders.remove(&self.0);
    }
}
