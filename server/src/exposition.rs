//! Writes the Prometheus text exposition format, version 0.0.4.
//!
//! Names and labels come from this crate, so they are legal; label values are escaped.

use std::fmt::Write as _;

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// A page of metrics under construction.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
}

impl Exposition {
    /// The content type of the finished page.
    pub(crate) const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// Opens a family; its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A family of one counter.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, Kind::Counter, help);
        self.sample(name, &[], value);
    }

    /// A family of one gauge.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    /// One value.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.suffixed(name, "", labels, value);
    }

    /// One value of a family whose samples have suffixes.
    pub(crate) fn suffixed(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: u64) {
        self.head(name, suffix, labels);
        self.write(format_args!(" {value}\n"));
    }

    /// One length of time, given in microseconds and shown in seconds.
    pub(crate) fn seconds(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], micros: u64) {
        self.head(name, suffix, labels);
        self.write(format_args!(" {}.{:06}\n", micros / 1_000_000, micros % 1_000_000));
    }

    fn head(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)]) {
        self.write(format_args!("{name}{suffix}"));
        for (at, (label, value)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.write(format_args!("{open}{label}=\"{value}\""));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("memory always takes text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page() {
        let mut page = Exposition::default();
        page.gauge("a", "Things.", 3);
        page.family("b", Kind::Counter, "By label.");
        page.sample("b", &[("x", "q\"\\\n"), ("y", "z")], 1);
        page.seconds("b", "_sum", &[], 1_000_042);
        let expected = "# HELP a Things.\n# TYPE a gauge\na 3\n# HELP b By label.\n# TYPE b counter\n\
                        b{x=\"q\\\"\\\\\\n\",y=\"z\"} 1\nb_sum 1.000042\n";
        assert_eq!(page.finish(), expected);
    }
}
