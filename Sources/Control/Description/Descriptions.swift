// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization
import Tokens

/// The descriptions as they were last asked for: anybody may ask, so each is made once for a configuration and not for every call.
final class Descriptions: Sendable {
    private struct Made {
        let description: OpenAPI
        let bytes: [UInt8]
    }

    private let made = Mutex<[OpenAPI.Scope: Made]>([:])

    /// Called from any task.
    func answer(_ scope: OpenAPI.Scope, _ configuration: ControlConfiguration) -> ControlAnswer {
        let wanted = OpenAPI(
            scope: scope, apiPath: configuration.apiPath, cookies: configuration.cookies, tokenByteLimit: configuration.tokenByteLimit)
        let bytes = made.withLock { made in
            if let last = made[scope], last.description == wanted { return last.bytes }
            var json = JSONWriter(reserving: 64 << 10)
            json.value(wanted.document)
            made[scope] = Made(description: wanted, bytes: json.bytes)
            return json.bytes
        }
        return .json(bytes)
    }
}
