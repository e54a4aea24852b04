//! baresip as a telephone: picks up by itself, speaks a WAV, keeps what it hears, types on request.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PATIENCE, is_installed, own_address, scratch, sip_at, tail, tone};

const MODULES: &str = "/usr/lib/baresip/modules";

/// A running telephone.
pub(super) struct Baresip {
    process: Child,
    folder: TempDir,
    pub(super) address: SocketAddr,
    keys: TcpStream,
}

impl Baresip {
    /// A telephone of this number that speaks `codec` and says a tone of `hertz`; `None` where there is
    /// no baresip.
    pub(super) async fn start(number: &str, codec: &str, voice: (f64, f64)) -> Option<Self> {
        Self::start_at(own_address(), number, codec, voice, None).await
    }

    /// The same at a given address, over TLS too with a certificate and its key (PEM): at the next
    /// port.
    pub(super) async fn start_at(
        ip: IpAddr,
        number: &str,
        codec: &str,
        (hertz, amplitude): (f64, f64),
        certificate: Option<&str>,
    ) -> Option<Self> {
        if !is_installed("baresip") {
            return None;
        }
        let folder = scratch();
        let voice = folder.path().join("voice.wav");
        tone::write(&voice, hertz, amplitude, 60);
        let address = sip_at(ip);
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text);
        let account =
            format!("<sip:{number}@{ip}>;regint=0;answermode=auto;audio_codecs={codec}/8000/1\n");
        write("accounts", account).unwrap();
        write("contacts", String::new()).unwrap();
        let tls = certificate.map_or_else(String::new, |pem| {
            write("tls.pem", pem.to_owned()).unwrap();
            format!("sip_certificate {}/tls.pem\n", folder.path().display())
        });
        // A player of sound must be named: the bridge to nowhere is one.
        let config = format!(
            "sip_listen {address}\n{tls}net_interface 127.0.0.1\nmodule_path {MODULES}\n\
             module g711.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\n\
             module cons.so\nmodule_tmp account.so\nmodule_app menu.so\n\
             cons_listen {ip}:5555\nsnd_path {}\naudio_source aufile,{}\n\
             audio_player aubridge,nowhere\naudio_alert aubridge,nowhere\n\
             ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\n",
            folder.path().display(),
            voice.display()
        );
        write("config", config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new("baresip")
            .arg("-f")
            .arg(folder.path())
            .arg("-v")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let connected = async {
            loop {
                match TcpStream::connect((ip, 5555)).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let keys = timeout(PATIENCE, connected).await;
        let keys = keys.unwrap_or_else(|_| panic!("{}", tail(&folder.path().join("log"))));
        let telephone = Self { process, folder, address, keys };
        telephone.says("baresip is ready").await;
        Some(telephone)
    }

    /// Presses keys, one after the other: digits are sent to the far end; `x` holds, `X` resumes,
    /// `b` hangs up.
    pub(super) async fn press(&mut self, digits: &str) {
        for digit in digits.bytes() {
            self.keys.write_all(&[digit]).await.unwrap();
            // A person's finger; baresip queues no more than it can send.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The digits that it was sent, in order: each counts where it begins.
    pub(super) fn digits_heard(&self) -> String {
        let log = tail(&self.folder.path().join("log"));
        let begins = log.lines().filter(|line| line.contains("received event: '"));
        begins
            .filter(|line| line.contains("(end=0)"))
            .filter_map(|line| line.split('\'').nth(1))
            .collect()
    }

    /// Waits for a word in its log.
    pub(super) async fn says(&self, words: &str) {
        let log = self.folder.path().join("log");
        let said = async {
            while !tail(&log).contains(words) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("no {words}: {}", tail(&log)));
    }

    /// What it heard in its call, as a WAV, once it has hung up.
    pub(super) async fn heard(mut self) -> Vec<u8> {
        self.says("session closed").await;
        self.process.kill().await.unwrap();
        let dump = self.dump().unwrap_or_else(|| panic!("it heard nothing"));
        std::fs::read(dump).unwrap()
    }

    /// The file that its module `sndfile` writes of what it decodes.
    fn dump(&self) -> Option<PathBuf> {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|it| it.unwrap().path());
        files.into_iter().find(|file| file.to_string_lossy().ends_with("-dec.wav"))
    }
}
