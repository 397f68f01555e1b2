//! From settings to the trust of a replica, and the files that it is read from.

use crate::files::{Reading, read};
use crate::settings::{SettingError, Settings};
use hence_transport::trust::{Pem, Secret, Secrets, Tls, TlsError, Trust};
use std::path::{Path, PathBuf};
use tracing::warn;

/// The certificate, its key, and the authorities of peers.
type TlsFiles = [PathBuf; 3];

const TLS_SETTINGS: [&str; 3] = ["HENCE_TLS_CERT", "HENCE_TLS_KEY", "HENCE_PEER_CA"];

/// What peers and clients of this replica have to show, and what has to be read again for that.
///
/// # Errors
/// [`SettingError`] names the setting that is wrong or missing, and never what a file holds.
pub(crate) fn load(settings: &Settings) -> Result<(Trust, Vec<Reading>), SettingError> {
    let (tls, mut readings) = match tls_files(settings)? {
        Some(files) => {
            let (tls, reading) = tls(settings, files)?;
            (Some(tls), vec![reading])
        }
        None => (None, Vec::new()),
    };
    let (secrets, reading) = secrets(settings)?;
    readings.extend(reading);
    Ok((Trust { tls, secrets, changeover: settings.trust.changeover }, readings))
}

fn wrong(name: &str, value: impl Into<String>, allowed: impl Into<String>) -> SettingError {
    SettingError { name: name.into(), value: value.into(), allowed: allowed.into() }
}

/// All three files, or none.
fn tls_files(settings: &Settings) -> Result<Option<TlsFiles>, SettingError> {
    let trust = &settings.trust;
    let given = [&trust.certificate, &trust.key, &trust.peer_ca];
    if given.iter().all(|file| file.is_none()) {
        return match &trust.peer_name {
            Some(name) => Err(wrong("HENCE_PEER_NAME", name, "left out without HENCE_TLS_CERT")),
            None => Ok(None),
        };
    }
    if let Some((name, _)) = TLS_SETTINGS.iter().zip(given).find(|(_, file)| file.is_none()) {
        return Err(wrong(name, "", "set with HENCE_TLS_CERT, HENCE_TLS_KEY and HENCE_PEER_CA, which belong together"));
    }
    let [certificate, key, authorities] = given.map(|file| file.clone().unwrap_or_default());
    Ok(Some([certificate, key, authorities]))
}

fn tls(settings: &Settings, files: TlsFiles) -> Result<(Tls, Reading), SettingError> {
    let mut texts = Vec::new();
    for (name, path) in TLS_SETTINGS.iter().zip(&files) {
        texts.push(read(path).map_err(|allowed| wrong(name, path.display().to_string(), allowed))?);
    }
    let pem = Pem { certificate: &texts[0], key: &texts[1], authorities: &texts[2] };
    let tls = Tls::new(pem, settings.trust.peer_name.as_deref()).map_err(|error| {
        let of_files = |at: usize| wrong(TLS_SETTINGS[at], files[at].display().to_string(), error.to_string());
        match error {
            TlsError::Certificate => of_files(0),
            TlsError::Key | TlsError::OtherKey => of_files(1),
            TlsError::Authorities => of_files(2),
            TlsError::Name => {
                wrong("HENCE_PEER_NAME", settings.trust.peer_name.clone().unwrap_or_default(), error.to_string())
            }
        }
    })?;
    let own = settings.address.clone();
    let tell_flaw = move |tls: &Tls| {
        if let Some(why) = tls.flaw(&own) {
            warn!(replica = %own, why, "peers will not accept the certificate of this replica");
        }
    };
    tell_flaw(&tls);
    let (shared, paths) = (tls.clone(), files.clone());
    let reading = Reading::new("the certificate", &files.each_ref().map(PathBuf::as_path), move || {
        let [certificate, key, authorities] = paths.each_ref().map(|path| read(path));
        let (certificate, key, authorities) = (certificate?, key?, authorities?);
        let pem = Pem { certificate: &certificate, key: &key, authorities: &authorities };
        shared.replace(pem).map_err(|error| error.to_string())?;
        tell_flaw(&shared);
        Ok(())
    });
    Ok((tls, reading))
}

fn secrets(settings: &Settings) -> Result<(Option<Secrets>, Option<Reading>), SettingError> {
    let trust = &settings.trust;
    match (&trust.secret, &trust.secret_file) {
        (Some(_), Some(file)) => {
            Err(wrong("HENCE_SECRET_FILE", file.display().to_string(), "left out where HENCE_SECRET is set"))
        }
        (Some(text), None) => {
            let secrets = Secret::parse(text.as_str());
            let secrets = secrets.map_err(|error| wrong("HENCE_SECRET", "(not shown)", error.to_string()))?;
            Ok((Some(Secrets::new(&secrets)), None))
        }
        (None, Some(file)) => {
            let found = read_secrets(file);
            let found = found.map_err(|allowed| wrong("HENCE_SECRET_FILE", file.display().to_string(), allowed))?;
            let secrets = Secrets::new(&found);
            let (shared, path) = (secrets.clone(), file.clone());
            let reading =
                Reading::new("the secret", &[file], move || read_secrets(&path).map(|found| shared.replace(&found)));
            Ok((Some(secrets), Some(reading)))
        }
        (None, None) => Ok((None, None)),
    }
}

fn read_secrets(path: &Path) -> Result<Vec<Secret>, String> {
    let bytes = read(path)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    Secret::parse(&text).map_err(|error| format!("a file of {error}"))
}
