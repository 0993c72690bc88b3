// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// Runs a command of the shell and waits for it.
enum ShellCommand {
    /// Blocks the thread until the command has ended.
    ///
    /// - Parameter environment: put into what this process has, not into arguments: those every user of the machine can read.
    /// - Returns: its exit code, 128 and the signal's number where a signal ended it, 127 where it could not be started; as shells have it.
    static func run(_ command: String, environment: [(name: String, value: String)] = []) -> Int32 {
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.name)=\($0.value)") }
        var place = environ
        while let variable = place.pointee {
            let text = String(cString: variable)
            if !environment.contains(where: { text.hasPrefix("\($0.name)=") }) { variables.append(strdup(variable)) }
            place += 1
        }
        variables.append(nil)
        var words: [UnsafeMutablePointer<CChar>?] = ["/bin/sh", "-c", command].map { (word: String) in strdup(word) }
        words.append(nil)
        defer { for text in variables + words { free(text) } }

        // The report may go to standard output: what the command prints does not go there, too.
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO)
        // SIGPIPE is ignored here, and is not to be so there.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var usual = sigset_t()
        sigemptyset(&usual)
        sigaddset(&usual, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &usual)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))

        var process: pid_t = 0
        guard posix_spawn(&process, "/bin/sh", &actions, &attributes, &words, &variables) == 0 else { return 127 }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { return 127 }
        }
        let signal = status & 0x7F
        return signal == 0 ? status >> 8 & 0xFF : 128 + signal
    }
}
