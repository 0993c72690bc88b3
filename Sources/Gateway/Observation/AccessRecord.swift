// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// What is known of one request when it is over: for its line in the access log and for the counters. One for each exchange, used again
/// for each of its requests, so that its text allocates nothing once it is warm.
struct AccessRecord {
    /// How an exchange ended. Only what the contract calls a rejection has a code of its own.
    enum Outcome: Equatable {
        /// The upstream's answer, whole.
        case answered
        case rejected(Rejection)
        /// The upstream's answer broke off.
        case brokenOff
        case clientGone
        /// Nothing moved for too long.
        case idle
        case revoked
        case expired
        case storeSilent
        case draining

        static let names: [StaticString] = [
            "ok", "redirect", "client_error", "server_error", "broken_off", "client_gone", "idle", "cut_revoked", "cut_expired",
            "cut_store_silent", "cut_draining",
        ]

        /// Its place among the metric's outcomes: the codes, then `names`.
        func ordinal(status: Int) -> Int {
            let first = Rejection.codes.count
            switch self {
            case .rejected(let rejection): return rejection.ordinal
            case .answered: return first + (status < 300 ? 0 : status < 400 ? 1 : status < 500 ? 2 : 3)
            case .brokenOff: return first + 4
            case .clientGone: return first + 5
            case .idle: return first + 6
            case .revoked: return first + 7
            case .expired: return first + 8
            case .storeSilent: return first + 9
            case .draining: return first + 10
            }
        }

        static let ordinals = Rejection.codes.count + names.count

        static func name(_ ordinal: Int) -> StaticString {
            ordinal < Rejection.codes.count ? Rejection.codes[ordinal] : names[ordinal - Rejection.codes.count]
        }

        /// What the access log shows as `code`; nil for an answer that is the upstream's own.
        var code: StaticString? {
            switch self {
            case .answered: nil
            case .rejected(let rejection): rejection.code
            case .brokenOff: "upstream_reset"
            case .clientGone: "client_gone"
            case .idle: "idle"
            case .revoked, .expired: "session_revoked"
            case .storeSilent: "store_unavailable"
            case .draining: "draining"
            }
        }
    }

    /// Bytes of a path that are shown.
    private static let pathLimit = 2048
    /// Room for the text that is kept from request to request, in bytes.
    private static let keptCapacity = 4096

    var requestID = RequestID(0, 0)
    /// Of the answer; 0: none was begun.
    var status = 0
    var outcome = Outcome.answered
    var requestBytes: Int64 = 0
    var responseBytes: Int64 = 0
    var duration = TimeAmount.zero
    /// From the request's end to the answer's head.
    var upstreamDuration: TimeAmount?
    /// JSON members of what the client asked for, ready for the line.
    private(set) var text: [UInt8] = []

    init() {}

    /// A new request.
    mutating func begin(_ requestID: RequestID) {
        self.requestID = requestID
        status = 0
        outcome = .answered
        requestBytes = 0
        responseBytes = 0
        duration = .zero
        upstreamDuration = nil
        text.removeAll(keepingCapacity: text.capacity <= Self.keptCapacity)
    }

    /// Notes who asked for what, while the head is there: method, host and path as they were sent, without the query. Only needed for the access log.
    ///
    /// - Parameter client: nil: nothing is believed but the peer's address.
    mutating func describe(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer, client: ClientView?, peer: PeerAddress) {
        text.removeAll(keepingCapacity: true)
        add("\"method\":\"", bytes.slice(head.method))
        add("\",\"host\":\"", bytes.slice(head.host))
        if head.path.isEmpty {
            add(head.targetForm == .asterisk ? "\",\"path\":\"*\",\"client\":\"" : "\",\"path\":\"/\",\"client\":\"")
        } else {
            var path = head.path
            path.end = min(path.end, path.start + Int32(Self.pathLimit))
            add("\",\"path\":\"", bytes.slice(path))
            add("\",\"client\":\"")
        }
        if let address = client?.addressText {
            add("", bytes.slice(address))
        } else {
            peer.text.withUnsafeBytes { add("", $0) }
        }
        add("\"")
    }

    private mutating func add(_ constant: StaticString) {
        text.append(contentsOf: UnsafeBufferPointer(start: constant.utf8Start, count: constant.utf8CodeUnitCount))
    }

    /// The value as the inside of a JSON string. Bytes that are not ASCII are shown as the characters of ISO 8859-1.
    private mutating func add(_ constant: StaticString, _ value: UnsafeRawBufferPointer) {
        add(constant)
        if value.allSatisfy({ $0 >= 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
            text.append(contentsOf: value)
            return
        }
        for byte in value {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += [UInt8(ascii: "\\"), byte]
            case 0x20..<0x7f: text.append(byte)
            default:
                text += [
                    UInt8(ascii: "\\"), UInt8(ascii: "u"), UInt8(ascii: "0"), UInt8(ascii: "0"), ASCII.hexDigit(UInt64(byte >> 4)),
                    ASCII.hexDigit(UInt64(byte)),
                ]
            }
        }
    }
}
