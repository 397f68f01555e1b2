//! A certificate authority for one run: `hence up --tls`, and tests.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// An authority whose key is nowhere but in memory. Its files lie in a folder that goes with it.
#[derive(Debug)]
pub struct Throwaway {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Throwaway {
    /// Makes one, with its files in this folder, which is made, too.
    ///
    /// # Errors
    /// Where the folder is there already, or cannot be made or written.
    pub fn new(folder: PathBuf) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "hence, for one run");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        write(&folder.join("ca.pem"), &certificate.pem())?;
        Ok(Self { folder, issuer: Issuer::new(params, key) })
    }

    /// The file of its own certificate, for clients that are to trust it.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for these names and IP addresses, in files of this name.
    ///
    /// # Errors
    /// Where a name is none, or a file cannot be written.
    pub fn issue(&self, file: &str, names: &[&str]) -> io::Result<Issued> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(names).map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let issued = Issued {
            certificate: self.folder.join(format!("{file}.pem")),
            key: self.folder.join(format!("{file}.key")),
        };
        write(&issued.certificate, &certificate.pem())?;
        write(&issued.key, &key.serialize_pem())?;
        Ok(issued)
    }
}

/// Puts a file in its place as a whole, for its owner only.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&beside, path)
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // What stays behind opens nothing: no replica trusts it any more.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
