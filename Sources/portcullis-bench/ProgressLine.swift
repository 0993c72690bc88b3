// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import BenchHarness
import Glibc

/// One line on the terminal that is written over each second; nothing where standard error is none.
struct ProgressLine {
    private let isTerminal = isatty(STDERR_FILENO) == 1

    func show(_ progress: LoadProgress, warmup: Int64, duration: Int64) {
        guard progress.seconds >= 0 else { return overwrite("warming up, \(-progress.seconds) s left") }
        overwrite("\(progress.seconds) s of \(duration / 1_000_000_000) s, \(progress.requests) requests, \(progress.errors) errors")
    }

    func overwrite(_ text: String) {
        // CSI K: the rest of the line is blanked (ECMA-48).
        if isTerminal { Exit.write("\r\(text)\u{1B}[K") }
    }

    func clear() {
        if isTerminal { Exit.write("\r\u{1B}[K") }
    }
}
