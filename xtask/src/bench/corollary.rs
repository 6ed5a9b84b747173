//! A Corollary server of the benchmark's own: built for release, filled by `corollary import` in a fresh folder,
//! stopped and removed when dropped. Its settings are the defaults.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::options::Options;
use super::process::{self, Finished, Running};
use super::{Result, machine, progress, root};

/// How long the server may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// How the line begins that the server prints when it is ready.
const READY: &str = "Corollary is ready at http://";

/// How many resources the check at the end compares with the oracle.
const CHECKED: &str = "1000";

/// The program, built.
pub struct Binary(PathBuf);

/// A folder of data under a schema, not served.
pub struct Data {
    binary: PathBuf,
    schema: PathBuf,
    /// The database that it is in, where it is not in the folder.
    store: Option<String>,
    folder: TempDir,
}

/// A server that is ready.
pub struct Ready {
    server: Running,
    address: SocketAddr,
    /// What it has to tell when it does not end well.
    stderr: PathBuf,
}

/// The server of some data.
pub struct Corollary {
    // Stopped before its folder goes.
    server: Ready,
    data: Data,
}

impl Binary {
    /// Builds the server for release, wherever cargo puts it, and prints its version.
    pub fn build() -> Result<Binary> {
        Binary::with(&["--release"])
    }

    /// The same as for tests, with all that is asserted.
    pub fn debug() -> Result<Binary> {
        Binary::with(&[])
    }

    /// The one that was asked for, else one that is built.
    pub fn of(options: &Options) -> Result<Binary> {
        options.program.as_deref().map_or_else(Binary::build, Binary::at)
    }

    /// One that is there already.
    fn at(program: &Path) -> Result<Binary> {
        machine::print_version("Corollary", program)?;
        let program = program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Binary(program))
    }

    fn with(options: &[&str]) -> Result<Binary> {
        progress("building Corollary");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root()).args(["build", "--package", "corollary-server"]).args(options);
        cargo.arg("--message-format=json-render-diagnostics");
        let binary = process::executable(&process::run(cargo)?.stdout, "corollary")
            .ok_or("cargo built no binary `corollary`")?;
        machine::print_version("Corollary", &binary)?;
        Ok(Binary(binary))
    }

    /// The OpenAPI document of a schema.
    pub fn openapi(&self, schema: &Path) -> Result<String> {
        let mut command = Command::new(&self.0);
        command.args(["schema", "openapi"]).arg(schema);
        Ok(process::run(command)?.stdout)
    }
}

impl Data {
    /// An empty folder inside `dir`, for resources of the schema in the file `schema`.
    pub fn create(binary: &Binary, dir: &Path, schema: PathBuf) -> Result<Data> {
        let folder = tempfile::Builder::new().prefix("corollary-bench-").tempdir_in(dir);
        let folder = folder.map_err(|error| format!("no folder in {}: {error}", dir.display()))?;
        Ok(Data { binary: binary.0.clone(), schema, store: None, folder })
    }

    /// The same, in a database.
    #[must_use]
    pub fn in_database(self, address: String) -> Data {
        Data { store: Some(address), ..self }
    }

    /// Where files may be put for it to read; it goes with the data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command over this data.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(name).arg("--schema").arg(&self.schema);
        match &self.store {
            Some(address) => command.arg("--store").arg(address),
            None => command.arg("--data").arg(self.folder.path().join("data")),
        };
        command
    }

    /// Imports a file of resources of a type, and tells the time and the memory it took. A row that is rejected makes
    /// it fail: the other side has them all.
    pub fn import(&self, ty: &str, file: &Path) -> Result<Finished> {
        let mut command = self.command("import");
        command.arg(ty).arg(file);
        let finished = process::run(command)?;
        match rejected(&finished.stdout) {
            Some(0) => Ok(finished),
            _ => Err(format!("the import of {ty} did not take every row:\n{}", finished.stdout).into()),
        }
    }

    /// Compares some derived values with the oracle; an error where any is wrong.
    pub fn check(&self) -> Result<()> {
        let mut command = self.command("check");
        command.args(["--sample", CHECKED]);
        process::run(command).map(drop)
    }

    /// The same data under another schema.
    pub fn with_schema(mut self, text: &str) -> Result<Data> {
        self.schema = self.folder.path().join("schema.cor");
        fs::write(&self.schema, text).map_err(|error| format!("{}: {error}", self.schema.display()))?;
        Ok(self)
    }

    /// Serves it on a free port.
    pub fn serve(self) -> Result<Corollary> {
        let server = self.start("server")?;
        Ok(Corollary { server, data: self })
    }

    /// Starts a server on a free port. Over a database there may be several, with a name each.
    pub fn start(&self, name: &str) -> Result<Ready> {
        self.begin(name, self.command("serve"))
    }

    /// The same, run by another program, which takes it as its last arguments.
    pub fn start_under(&self, name: &str, mut program: Command) -> Result<Ready> {
        let command = self.command("serve");
        program.arg(command.get_program()).args(command.get_args());
        self.begin(name, program)
    }

    fn begin(&self, name: &str, mut command: Command) -> Result<Ready> {
        let file = |what: &str| self.folder.path().join(format!("{what} of {name}"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let create =
            |path: &Path| fs::File::create(path).map_err(|error| format!("{}: {error}", path.display()));
        command
            .args(["--listen", "127.0.0.1:0", "--node", name])
            .stdout(create(&stdout)?)
            .stderr(create(&stderr)?);
        let mut server = Running::start(command, Signal::TERM)?;
        let deadline = Instant::now() + START_TIMEOUT;
        let address = loop {
            let printed = fs::read_to_string(&stdout).unwrap_or_default();
            if let Some(address) = ready(&printed) {
                break address;
            }
            if server.ended()?.is_some() || Instant::now() > deadline {
                let errors = fs::read_to_string(&stderr).unwrap_or_default();
                let (printed, errors) = (process::last_lines(&printed), process::last_lines(&errors));
                return Err(format!("Corollary did not start:\n{printed}{errors}").into());
            }
            process::tick()?;
        };
        Ok(Ready { server, address, stderr })
    }
}

impl Ready {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The time that it has had of the processors.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.server.cpu_time()
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.server.process()
    }

    /// The most memory it had at once, in bytes.
    pub fn peak_memory(&self) -> Option<u64> {
        self.server.peak_memory()
    }

    /// Stops it, which must end well.
    pub fn stop(mut self) -> Result<()> {
        let status = self.server.stop()?;
        if status.success() {
            return Ok(());
        }
        let errors = fs::read_to_string(&self.stderr).unwrap_or_default();
        Err(format!("Corollary ended with {status}:\n{}", process::last_lines(&errors)).into())
    }
}

impl Corollary {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The most memory it had at once, in bytes.
    pub fn peak_memory(&self) -> Option<u64> {
        self.server.peak_memory()
    }

    /// The time that it has had of the processors.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.server.cpu_time()
    }

    /// Stops it, which must end well, and gives its data back.
    pub fn stop(self) -> Result<Data> {
        let Corollary { server, data } = self;
        server.stop().map(|()| data)
    }
}

/// The address in the line that says the server is ready, once it is whole.
fn ready(printed: &str) -> Option<SocketAddr> {
    let (line, _) = printed.split_once(READY)?.1.split_once('\n')?;
    line.trim().trim_end_matches('/').parse().ok()
}

/// How many rows an import did not take, from its last line: `imported N TYPE in S s (R per second), K rejected`.
fn rejected(printed: &str) -> Option<u64> {
    let line = printed.lines().rev().find(|line| line.starts_with("imported "))?;
    line.strip_suffix(" rejected")?.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_once_its_line_is_whole() {
        let line = "Corollary is ready at http://127.0.0.1:7437\n";
        assert_eq!(ready(line), Some(SocketAddr::from(([127, 0, 0, 1], 7437))));
        assert_eq!(ready(line.trim_end()), None, "the port may go on");
        assert_eq!(ready(""), None);
    }

    #[test]
    fn rejected_rows_are_counted() {
        assert_eq!(rejected("imported 10 Order in 0.1 s (100 per second), 0 rejected\n"), Some(0));
        assert_eq!(rejected("row 3: …\nimported 9 Order in 0.1 s (90 per second), 12 rejected"), Some(12));
        assert_eq!(rejected("nothing"), None);
    }

    #[test]
    fn the_schema_has_no_mistakes() {
        let text = fs::read_to_string(root().join("bench/point.cor")).unwrap();
        let checked = corollary_schema::check(&text, &mut corollary_schema::Ids::default());
        assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
    }
}
