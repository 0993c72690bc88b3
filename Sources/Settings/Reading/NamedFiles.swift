// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import Tokens

/// Why a file cannot be read, as a clause about it.
struct FileProblem: Error, CustomStringConvertible {
    let description: String
}

/// What a file holds, and who else may change that or look at it.
struct NamedFile {
    let bytes: [UInt8]
    /// Readable or writable by users of the machine that are neither its owner nor in its group.
    let isOpenToAll: Bool
}

/// Reads the configuration and the files that it names, each once, and keeps a digest of all of it.
struct NamedFiles {
    private let folder: String
    private var contents: [String: Result<NamedFile, FileProblem>] = [:]
    private var digests: [UInt8] = []

    /// Relative names start at the folder of this file.
    init(folderOf file: String) {
        folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
    }

    /// SHA-256 of everything so far.
    var digest: [UInt8] { Digest.sha256(digests) }

    func absolute(_ name: String) -> String {
        let path = name.hasPrefix("/") ? name : folder + name
        guard !path.hasPrefix("/"), let current = getcwd(nil, 0) else { return path }
        defer { free(current) }
        return String(cString: current) + "/" + path
    }

    /// Something that was read elsewhere, or was not there to be read.
    mutating func note(_ name: String, _ content: [UInt8]?) {
        digests += Digest.sha256(Array(name.utf8)) + Digest.sha256((content.map { [1] + $0 }) ?? [0])
    }

    mutating func read(_ name: String) -> Result<NamedFile, FileProblem> {
        let path = absolute(name)
        if let known = contents[path] { return known }
        let content = Self.content(of: path, limit: SettingLimit.fileBytes, mustBeRegular: true)
        contents[path] = content
        note(path, try? content.get().bytes)
        return content
    }

    /// It may be a pipe.
    mutating func readConfiguration(_ path: String) -> Result<[UInt8], FileProblem> {
        let content = Self.content(of: path, limit: SettingLimit.configurationBytes, mustBeRegular: false).map(\.bytes)
        note("", try? content.get())
        return content
    }

    private static func content(of path: String, limit: Int, mustBeRegular: Bool) -> Result<NamedFile, FileProblem> {
        guard !path.utf8.contains(0) else { return .failure(FileProblem(description: "cannot have this name")) }
        // Without O_NONBLOCK, a pipe that nobody writes to would be waited for.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | (mustBeRegular ? O_NONBLOCK : 0))
        guard descriptor >= 0 else { return .failure(failure(errno)) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return .failure(failure(errno)) }
        let kind = status.st_mode & S_IFMT
        guard kind != S_IFDIR else { return .failure(FileProblem(description: "is a folder")) }
        guard kind == S_IFREG || !mustBeRegular else { return .failure(FileProblem(description: "is no regular file")) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return .failure(failure(errno)) }
            guard count > 0 else { return .success(NamedFile(bytes: bytes, isOpenToAll: status.st_mode & (S_IROTH | S_IWOTH) != 0)) }
            bytes += chunk[..<count]
            guard bytes.count <= limit else { return .failure(FileProblem(description: "has more than \(limit >> 20) MiB")) }
        }
    }

    private static func failure(_ code: Int32) -> FileProblem {
        switch code {
        case ENOENT: FileProblem(description: "does not exist")
        case EACCES, EPERM: FileProblem(description: "cannot be read: permission denied")
        default: FileProblem(description: "cannot be read: \(String(cString: strerror(code)))")
        }
    }
}
