//! What the program is to be: the arguments, and with them whose the environment is.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::{Config, Invalid, Token, seal, wipe};

/// The variable that carries the engine's secret.
const SECRET_VARIABLE: &str = "SANDBOX_ENGINE_SECRET";

/// Variables of the developer's machine that a sandbox of the local engine begins with: where programs are,
/// who and where one is, and the way to the registries. None that could be a key.
const SHARED: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// What the program is to be.
#[derive(Debug)]
pub enum Command {
    /// The supervisor of a container: no argument.
    Supervisor(Box<Config>),
    /// The local engine: `engine`.
    Engine(EngineConfig),
    /// One sandbox of the local engine: `sandbox`, started by the engine only.
    Sandbox(SandboxConfig),
}

/// How the local engine is to run.
#[derive(Debug)]
pub struct EngineConfig {
    /// Where it listens: a loopback address.
    pub listen: SocketAddr,
    /// The folder that has a folder for each sandbox that runs.
    pub state_dir: PathBuf,
    /// What every request must show; `None` if it comes as the first line of the standard input.
    pub secret: Option<Token>,
    /// The variables that every sandbox begins with.
    pub environment: BTreeMap<String, String>,
}

/// What one sandbox of the local engine is told by its arguments. The rest comes by its standard input.
#[derive(Debug, PartialEq, Eq)]
pub struct SandboxConfig {
    /// The folder that is the sandbox's own.
    pub folder: PathBuf,
}

impl Command {
    /// Reads the arguments and the environment, then wipes the environment: afterwards neither
    /// `/proc/<pid>/environ` nor a child can tell the token.
    ///
    /// To be called before there is a second thread.
    pub fn from_process() -> Result<Self, Invalid> {
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let variables = std::env::vars_os().collect();
        let command = Self::new(&arguments, variables);
        wipe::environment_block();
        // A sandbox has yet to write its user map, which a sealed process may not.
        if !matches!(command, Ok(Self::Sandbox(_))) {
            seal()?;
        }
        command
    }

    fn new(
        arguments: &[OsString],
        variables: BTreeMap<OsString, OsString>,
    ) -> Result<Self, Invalid> {
        let Some((mode, options)) = arguments.split_first() else {
            return Config::from_variables(variables)
                .map(Box::new)
                .map(Self::Supervisor);
        };
        match mode.to_str() {
            Some("engine") => EngineConfig::new(options, variables).map(Self::Engine),
            Some("sandbox") => SandboxConfig::new(options).map(Self::Sandbox),
            _ => Err(Invalid::new(
                mode.to_string_lossy(),
                "is no mode; there is `engine`, and without an argument the supervisor of a container",
            )),
        }
    }
}

impl EngineConfig {
    fn new(
        options: &[OsString],
        mut variables: BTreeMap<OsString, OsString>,
    ) -> Result<Self, Invalid> {
        let mut listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut state_dir = None;
        for (name, value) in pairs(options)? {
            match name {
                "--listen" => listen = loopback(value)?,
                "--state" => state_dir = Some(absolute(value)?),
                _ => return Err(unknown(name)),
            }
        }
        let secret = match variables.remove(OsStr::new(SECRET_VARIABLE)) {
            Some(secret) => Some(Token::new(
                SECRET_VARIABLE,
                secret.to_string_lossy().into_owned(),
            )?),
            None => None,
        };
        let shared = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| is_shared(name));
        Ok(Self {
            listen,
            state_dir: state_dir.ok_or_else(|| Invalid::new("--state", "is required"))?,
            secret,
            environment: shared.collect(),
        })
    }
}

impl SandboxConfig {
    fn new(options: &[OsString]) -> Result<Self, Invalid> {
        let mut folder = None;
        for (name, value) in pairs(options)? {
            match name {
                "--folder" => folder = Some(PathBuf::from(value)),
                _ => return Err(unknown(name)),
            }
        }
        Ok(Self {
            folder: folder.ok_or_else(|| Invalid::new("--folder", "is required"))?,
        })
    }
}

fn is_shared(name: &str) -> bool {
    SHARED.contains(&name) || name.to_ascii_lowercase().starts_with("npm_config_")
}

fn pairs(options: &[OsString]) -> Result<Vec<(&str, &OsStr)>, Invalid> {
    options
        .chunks(2)
        .map(|chunk| match chunk {
            [name, value] => Ok((name.to_str().unwrap_or_default(), value.as_os_str())),
            _ => Err(Invalid::new(
                chunk[0].to_string_lossy(),
                "is an option that wants a value",
            )),
        })
        .collect()
}

fn unknown(name: &str) -> Invalid {
    Invalid::new(name, "is no option of this mode")
}

fn loopback(value: &OsStr) -> Result<SocketAddr, Invalid> {
    let address: Option<SocketAddr> = value.to_str().and_then(|text| text.parse().ok());
    address
        .filter(|address| address.ip().is_loopback())
        .ok_or_else(|| Invalid::new("--listen", "is a loopback address like 127.0.0.1:0"))
}

fn absolute(path: &OsStr) -> Result<PathBuf, Invalid> {
    std::path::absolute(path).map_err(|error| Invalid::new("--state", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{Command, SandboxConfig};

    fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Command, String> {
        let arguments: Vec<_> = arguments.iter().map(Into::into).collect();
        let variables = variables.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        Command::new(&arguments, variables.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_engine_listens_on_loopback_and_shares_no_key() {
        let arguments = ["engine", "--listen", "127.0.0.1:0", "--state", "/s"];
        let variables = [
            ("PATH", "/bin"),
            ("NPM_CONFIG_REGISTRY", "http://r"),
            ("CLOUDFLARE_API_TOKEN", "k"),
            ("SANDBOX_ENGINE_SECRET", "0123456789abcdef"),
        ];
        let Command::Engine(engine) = command(&arguments, &variables).unwrap() else {
            panic!("an engine");
        };
        assert!(engine.secret.unwrap().is(b"0123456789abcdef"));
        let names: Vec<_> = engine.environment.into_keys().collect();
        assert_eq!(names, ["NPM_CONFIG_REGISTRY", "PATH"]);
        for bad in [
            &["engine", "--listen", "0.0.0.0:0", "--state", "/s"][..],
            &["engine", "--listen", "localhost", "--state", "/s"],
            &["engine", "--state"],
            &["engine", "--nope", "1", "--state", "/s"],
            &["engine"],
        ] {
            assert!(command(bad, &[]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_mode_that_is_none_is_named() {
        assert!(command(&["serve"], &[]).unwrap_err().starts_with("serve: "));
        assert!(command(&[], &[]).unwrap_err().starts_with("SANDBOX_TOKEN"));
        let Command::Sandbox(sandbox) = command(&["sandbox", "--folder", "/f"], &[]).unwrap()
        else {
            panic!("a sandbox");
        };
        assert_eq!(
            sandbox,
            SandboxConfig {
                folder: "/f".into()
            }
        );
    }
}
