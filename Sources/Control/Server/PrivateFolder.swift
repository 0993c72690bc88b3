// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// A folder of this process alone (mode 0700), in which the session API's socket stands: who cannot enter it cannot speak for the data plane.
struct PrivateFolder: Sendable {
    /// `sun_path` holds no more, its NUL included.
    private static let socketPathLimit = 108

    let path: String
    /// Locked as long as the process lives: what cleans old temporary files leaves a locked folder alone.
    private let descriptor: Int32

    /// Throws with `errno`'s text where no folder can be made.
    init() throws(ControlFailure) {
        let wanted = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        let name = "portcullis-XXXXXX"
        // A temporary folder whose path is too long for a socket in it does not serve.
        let base = wanted.hasPrefix("/") && wanted.utf8.count + name.utf8.count + 16 < Self.socketPathLimit ? wanted : "/tmp"
        var template = Array("\(base)/\(name)".utf8CString)
        guard let made = template.withUnsafeMutableBufferPointer({ buffer in buffer.baseAddress.flatMap { mkdtemp($0) } }) else {
            throw ControlFailure(address: base, reason: "no folder can be made in it: \(String(cString: strerror(errno)))")
        }
        path = String(cString: made)
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw ControlFailure(address: path, reason: "cannot be locked: \(String(cString: strerror(errno)))")
        }
    }

    func path(of name: String) -> String { "\(path)/\(name)" }

    /// The lock stays until the process ends.
    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// The control plane cannot be reached where it should be: an address cannot be bound.
package struct ControlFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// As the configuration spells it.
    package let address: String
    package let reason: String

    package var description: String { "\(address): \(reason)" }
}
