// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// How users and session ids are spelled in keys (contract §7): every byte outside `A-Za-z0-9._@-` is percent-encoded with capital digits, so
/// that nothing that a client sends reaches a key as it is, and different names never share one.
package enum KeyEncoding {
    package static func append(_ text: some Sequence<UInt8>, to key: inout [UInt8]) {
        // Most need no encoding, and are copied as they are.
        let isDone = text.withContiguousStorageIfAvailable { bytes in
            guard bytes.allSatisfy(isPlain) else { return false }
            key.append(contentsOf: bytes)
            return true
        }
        if isDone == true { return }
        for byte in text {
            if isPlain(byte) {
                key.append(byte)
            } else {
                key.append(UInt8(ascii: "%"))
                key.append(digit(byte >> 4))
                key.append(digit(byte & 15))
            }
        }
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "@"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// `{user}` or `{namespace/user}`: the part that decides the cluster slot.
    package static func appendTag(of user: UserID, to key: inout [UInt8]) {
        key.append(UInt8(ascii: "{"))
        if !user.namespace.isEmpty {
            append(user.namespace.utf8, to: &key)
            key.append(UInt8(ascii: "/"))
        }
        append(user.name.utf8, to: &key)
        key.append(UInt8(ascii: "}"))
    }

    /// The inverse of `append`; nil for what `append` does not write, or no UTF-8.
    package static func decode(_ text: some Collection<UInt8>) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var rest = text.makeIterator()
        while let byte = rest.next() {
            if byte == UInt8(ascii: "%") {
                guard let high = rest.next().flatMap(value), let low = rest.next().flatMap(value) else { return nil }
                bytes.append(high << 4 | low)
            } else {
                bytes.append(byte)
            }
        }
        // Only what is spelled as `append` does: two spellings of one name would be two keys.
        var spelled: [UInt8] = []
        append(bytes, to: &spelled)
        guard spelled.elementsEqual(text) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    /// The inverse of `appendTag`.
    package static func user(ofTag tag: some BidirectionalCollection<UInt8>) -> UserID? {
        guard tag.count > 2, tag.first == UInt8(ascii: "{"), tag.last == UInt8(ascii: "}") else { return nil }
        let inner = tag.dropFirst().dropLast()
        guard let slash = inner.firstIndex(of: UInt8(ascii: "/")) else { return decode(inner).map { UserID(name: $0) } }
        guard let namespace = decode(inner[..<slash]), !namespace.isEmpty, let name = decode(inner[slash...].dropFirst()), !name.isEmpty else {
            return nil
        }
        return UserID(namespace: namespace, name: name)
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10 }
}
