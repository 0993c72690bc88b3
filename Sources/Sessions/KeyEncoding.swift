// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// How users and session ids are spelled in keys (contract §7): every byte outside `A-Za-z0-9._@-` is percent-encoded with capital digits, so
/// that nothing that a client sends reaches a key as it is, and different names never share one.
package enum KeyEncoding {
    package static func append(_ text: some Sequence<UInt8>, to key: inout [UInt8]) {
        for byte in text {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "@"), UInt8(ascii: "-"):
                key.append(byte)
            default:
                key.append(UInt8(ascii: "%"))
                key.append(digit(byte >> 4))
                key.append(digit(byte & 15))
            }
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

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10 }
}
