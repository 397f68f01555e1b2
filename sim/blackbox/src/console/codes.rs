//! The exit codes of a command, as its `--help` shows them. 0 is never said of what was not judged.

/// The text below a command's options: what 0, 1 and 4 mean for it, and the codes that all commands share.
#[macro_export]
macro_rules! codes {
    (0: $clean:literal, 1: $violation:literal, 4: $nothing:literal $(, $more:literal)?) => {
        concat!(
            "Exit codes:\n",
            "  0    ", $clean, "\n",
            "  1    ", $violation, "\n",
            "  2    usage, or a file that cannot be read, opened or understood\n",
            "  3    the simulator itself failed\n",
            "  4    ", $nothing, "\n",
            "  128+ the number of the signal that ended it at once",
            $("\n\n", $more)?
        )
    };
}
