//! What this process started, and must not leave behind however it ends.
//!
//! Every child process runs in a group of its own, and every temporary folder is known here. A
//! [`Process`] or [`Folder`] that is dropped takes its group or its files along; SIGINT, SIGTERM,
//! SIGHUP and SIGQUIT end all of them before they end this process. Only what is dropped or known
//! here can be cleaned up: keep neither in a `static`.

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

/// How often a process that is waited for is looked at.
const POLL: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Known {
    children: HashMap<u32, Child>,
    folders: HashSet<PathBuf>,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends everything that is known when a signal asks this process to end.
fn heed_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])
            .expect("none of these signals is reserved");
        thread::spawn(move || {
            for signal in &mut signals {
                // Held to the end: nothing new can start, and nobody sees a child that is gone.
                let mut known = known();
                known.children.values_mut().for_each(kill);
                known.folders.iter().for_each(|folder| drop(fs::remove_dir_all(folder)));
                let _ = emulate_default_handler(signal);
            }
        });
    });
}

/// Kills a child's group, unless the child has been waited for: its id may be another's by then.
fn kill(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        let _ = child.wait();
    }
}

/// A child process with a folder of its own, in which [`Process::log`] is.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    folder: Folder,
}

impl Process {
    /// Starts `command`. What it writes goes to the log, what it keeps for a while into `folder`.
    ///
    /// # Errors
    /// The command cannot be started; `NotFound` if there is no such program.
    pub fn start(command: &mut Command, folder: Folder) -> io::Result<Self> {
        let log = File::create(folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        // A process that is killed does not remove its own temporary files.
        command.env("TMPDIR", folder.path());
        heed_signals();
        let mut known = known();
        let child = command.spawn()?;
        let pid = child.id();
        known.children.insert(pid, child);
        Ok(Self { pid, folder })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// The folder that goes when the process does.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the process has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The log as a file, to be read on as it grows.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_log(&self) -> io::Result<File> {
        File::open(self.folder().join("log"))
    }

    /// How the process ended, if it has.
    ///
    /// # Errors
    /// The system does not tell.
    ///
    /// # Panics
    /// Never: the child is known until this is dropped.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        known().children.get_mut(&self.pid).expect("known until dropped").try_wait()
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// Asks the process to end, and waits for it that long at most.
    ///
    /// # Errors
    /// It has not ended by then.
    pub fn terminate(&self, patience: Duration) -> io::Result<ExitStatus> {
        if let Some(child) = known().children.get_mut(&self.pid)
            && child.try_wait()?.is_none()
        {
            kill_process(Pid::from_child(child), Signal::TERM)?;
        }
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(POLL);
        }
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
    /// A new folder among the system's temporary ones.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> io::Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// A new folder in `parent`, which is made if needed.
    ///
    /// # Errors
    /// One of them cannot be made.
    pub fn within(parent: &Path) -> io::Result<Self> {
        heed_signals();
        fs::create_dir_all(parent)?;
        let mut known = known();
        let path = tempfile::Builder::new().prefix(".header-gate-").tempdir_in(parent)?.keep();
        known.folders.insert(path.clone());
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder permanent under another name; whoever else did so first is as good.
    ///
    /// # Errors
    /// It cannot be renamed, and `path` is not there.
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
