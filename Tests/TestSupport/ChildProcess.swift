// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization

/// A child process that cannot outlive the tests: a watching shell ends it when this process is gone, however it went.
package final class ChildProcess: Sendable {
    package let identifier: pid_t
    private let watcher: pid_t
    /// Its other end is the watcher's input. Open until this process ends, or nobody refers to this object any more.
    private let lifeline: Int32
    private let state = Mutex(Running.yes)

    private enum Running {
        case yes
        case no(status: Int32)
    }

    /// Starts `program` (a path) with its output in the file `output`, and its errors there, too, unless `errors` names another.
    ///
    /// - Parameter temporary: its folder for temporary files; nil: ours.
    package init(_ program: String, _ arguments: [String], output: String, errors: String? = nil, temporary: String? = nil) throws {
        var ends: [Int32] = [0, 0]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw SocketError(call: "socketpair") }
        lifeline = ends[1]
        defer { close(ends[0]) }
        let file = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        let errorFile = errors.map { open($0, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600) }
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer {
            close(file)
            if let errorFile { close(errorFile) }
            close(null)
        }
        identifier = try spawn(program, arguments, input: null, output: file, errors: errorFile ?? file, temporary: temporary)
        do {
            watcher = try spawn("/bin/sh", ["-c", "read -r _; kill -9 \(identifier)"], input: ends[0], output: null, errors: null)
        } catch {
            Foundation.kill(identifier, SIGKILL)
            throw error
        }
    }

    deinit {
        kill()
        close(lifeline)
    }

    package var isRunning: Bool {
        state.withLock { running in
            guard case .yes = running else { return false }
            return !reap(&running, WNOHANG)
        }
    }

    /// As `waitpid` tells it; nil while it runs.
    package var status: Int32? {
        guard !isRunning, case .no(let status) = state.withLock({ $0 }) else { return nil }
        return status
    }

    /// What it ended with of its own accord; nil while it runs, and when a signal ended it.
    package var exitCode: Int32? { status.flatMap { $0 & 0x7f == 0 ? $0 >> 8 & 0xff : nil } }

    package func send(signal: Int32) {
        state.withLock {
            guard case .yes = $0 else { return }
            Foundation.kill(identifier, signal)
        }
    }

    /// SIGKILL; returns when it is gone.
    package func kill() { end(SIGKILL) }

    /// SIGTERM; returns when it is gone.
    package func terminate() { end(SIGTERM) }

    private func end(_ signal: Int32) {
        state.withLock { running in
            guard case .yes = running else { return }
            Foundation.kill(identifier, signal)
            _ = reap(&running, 0)
        }
    }

    /// True when it has ended. The watcher goes first, so that it never hits another process with the same id.
    private func reap(_ running: inout Running, _ options: Int32) -> Bool {
        var info = siginfo_t()
        guard waitid(P_PID, id_t(identifier), &info, WEXITED | WNOWAIT | options) == 0, info._sifields._sigchld.si_pid == identifier else {
            return false
        }
        var status: Int32 = 0
        Foundation.kill(watcher, SIGKILL)
        waitpid(watcher, &status, 0)
        waitpid(identifier, &status, 0)
        running = .no(status: status)
        return true
    }
}

/// `posix_spawn` with nothing inherited: no descriptor that a test may have above the standard three (ours are all close-on-exec, others' may not be), and
/// no blocked or ignored signal.
private func spawn(
    _ program: String, _ arguments: [String], input: Int32, output: Int32, errors: Int32, temporary: String? = nil
) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    for descriptor in Int32(3)..<4096 { posix_spawn_file_actions_addclose(&actions, descriptor) }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var environment = ProcessInfo.processInfo.environment
    if let temporary { environment["TMPDIR"] = temporary }
    var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") }
    variables.append(nil)
    defer { for variable in variables { free(variable) } }
    var identifier: pid_t = 0
    let result = posix_spawn(&identifier, program, &actions, &attributes, words, variables)
    guard result == 0 else { throw NotInTime(description: "\(program): \(String(cString: strerror(result)))") }
    return identifier
}
