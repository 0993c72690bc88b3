// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What an Origin field says (RFC 6454 §7).
package enum WebOrigin {
    /// Whether it is exactly the scheme, host and port of the request itself: letters without case, a port that is the scheme's own may be left
    /// out on either side. `null`, a list, and what is no host are not.
    ///
    /// - Parameters:
    ///   - origin: the value of the one Origin field.
    ///   - isSecure: the request's scheme is https, else http.
    ///   - host: the request's host, perhaps with a port.
    package static func isOwn(_ origin: UnsafeRawBufferPointer, isSecure: Bool, host: UnsafeRawBufferPointer) -> Bool {
        let scheme: StaticString = isSecure ? "https://" : "http://"
        guard startsIgnoringCase(origin, with: scheme) else { return false }
        let authority = UnsafeRawBufferPointer(rebasing: origin[scheme.utf8CodeUnitCount...])
        return sameAuthority(authority, host, defaultPort: isSecure ? 443 : 80)
    }
}
