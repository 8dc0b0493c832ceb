//! A proxy that was found on this machine, and one at work.

use std::{env, fs, io, path::Path, path::PathBuf};

use evenly_benches::scoreboard;

use crate::{
    process::{Process, free_ports},
    setup::{KNOWN, Known, Place, Role},
};

/// A proxy to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Rival {
    /// What tables call it.
    pub(crate) name: String,
    known: &'static Known,
    program: PathBuf,
}

/// A rival at work.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

/// Where its member, its certificate and room for its files are.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) folder: PathBuf,
    pub(crate) origin: u16,
    certificate: PathBuf,
    key: PathBuf,
}

impl Rival {
    /// Every known proxy that is there, and the names of those that are not.
    pub(crate) fn all() -> (Vec<Rival>, Vec<&'static str>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for known in &KNOWN {
            match find(known.program) {
                Some(program) => found.push(Rival { name: known.name.to_owned(), known, program }),
                None => missing.push(known.name),
            }
        }
        (found, missing)
    }

    /// The same by another program: a build of before, for example.
    pub(crate) fn built_otherwise(&self, name: &str, program: &str) -> Rival {
        Rival { name: name.to_owned(), known: self.known, program: program.into() }
    }

    /// Whether it is a build of evenly.
    pub(crate) fn is_evenly(&self) -> bool {
        self.known.name == OURS
    }

    /// Whether it can be what is asked.
    pub(crate) fn plays(&self, role: Role) -> bool {
        self.known.roles.contains(&role)
    }

    /// Whether callgrind can run it.
    pub(crate) fn is_countable(&self) -> bool {
        self.known.is_countable
    }

    /// Starts it on core 0, under `wrapper` if there is one.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(&self, role: Role, scene: &Scene, wrapper: &[String]) -> io::Result<Running> {
        let folder = scene.folder.join(format!("{}-{role:?}", self.name));
        fs::create_dir_all(&folder)?;
        let [port] = free_ports()?;
        let place = Place {
            role,
            port,
            origin: scene.origin,
            folder: &folder,
            certificate: &scene.certificate,
            key: &scene.key,
        };
        let own = (self.known.arguments)(&place)?;
        // What a program keeps at home, it keeps here.
        let home = format!("HOME={}", folder.display());
        let mut command: Vec<String> = vec!["env".into(), home];
        command.extend(self.known.environment.iter().map(|&variable| variable.to_owned()));
        command.extend(wrapper.iter().cloned());
        command.push(self.program.display().to_string());
        command.extend(own);
        Ok(Running { process: Process::start(&command, 0, &[port], &folder.join("said"))?, port })
    }
}

impl Scene {
    /// A folder of its own with a certificate that signs itself; `origin` is the member's port.
    ///
    /// # Errors
    /// When files cannot be written.
    pub(crate) fn set(folder: PathBuf, origin: u16) -> io::Result<Scene> {
        let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])
            .map_err(io::Error::other)?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        fs::write(&certificate, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        Ok(Scene { folder, origin, certificate, key })
    }
}

/// A program beside this one, among the tools of the benches, in the search path, or where Debian keeps servers.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|here| here.parent().map(Path::to_path_buf));
    let paths = env::var_os("PATH").unwrap_or_default();
    let mut folders = beside.into_iter().chain([scoreboard::folder().join("tools")]);
    let path = env::split_paths(&paths).chain(["/usr/sbin".into()]);
    folders.by_ref().chain(path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

const OURS: &str = "evenly";
