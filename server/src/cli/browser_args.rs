//! The arguments about browsers.

use crate::settings::{BrowserSettings, Origins, parse_cookie};
use clap::Args;

/// What browsers are answered beyond what every client is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Browsers")]
pub(crate) struct BrowserArgs {
    /// The origins whose pages may read answers (CORS), separated by commas, or * for every one
    #[arg(long, env = "HENCE_CORS_ORIGINS", value_name = "ORIGINS", value_parser = Origins::parse)]
    cors_origins: Option<Origins>,
    /// The name of a cookie in which the token travels, too. It serves requests one after another to one host; parallel
    /// ones overwrite it
    #[arg(long, env = "HENCE_COOKIE", value_name = "NAME", value_parser = parse_cookie)]
    cookie: Option<String>,
}

impl BrowserArgs {
    /// The same as settings.
    pub(crate) fn settings(&self) -> BrowserSettings {
        BrowserSettings { origins: self.cors_origins.clone().unwrap_or_default(), cookie: self.cookie.clone() }
    }
}
