// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore

/// Which of a name's addresses is measured: one, as a figure of two servers would be of neither. Blocks its thread, before anything is measured.
package enum AddressChoice {
    /// For each of several addresses, in seconds.
    private static let patience = 1

    /// Those of a name or of an address in text, in the system's order (RFC 6724); none where it cannot be resolved.
    package static func addresses(of host: String, port: Int) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = list
        while let entry = next?.pointee {
            next = entry.ai_next
            guard let raw = UnsafeRawPointer(entry.ai_addr) else { continue }
            switch entry.ai_family {
            case AF_INET: addresses.append(SocketAddress(raw.loadUnaligned(as: sockaddr_in.self)))
            case AF_INET6: addresses.append(SocketAddress(raw.loadUnaligned(as: sockaddr_in6.self)))
            default: continue
            }
        }
        return addresses
    }

    /// The first to which a connection can be made: `localhost` is two addresses, and many a server listens on one of them. The first of all where
    /// there is but one, or none takes connections; what is wrong with it is told when it is used.
    package static func reachable(among addresses: [SocketAddress]) -> SocketAddress? {
        guard addresses.count > 1 else { return addresses.first }
        return addresses.first(where: takesConnections) ?? addresses.first
    }

    private static func takesConnections(_ address: SocketAddress) -> Bool {
        let family = address.protocol == .inet6 ? AF_INET6 : AF_INET
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        // socket(7): on Linux it is the limit of connect, too.
        var limit = timeval(tv_sec: patience, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return address.withSockAddr { pointer, size in connect(descriptor, pointer, socklen_t(size)) == 0 }
    }
}
