// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import AsyncHTTPClient
import NIOCore
import NIOSSL
import Tokens

/// Fetches one key set over HTTP, by the rules of `StrictHTTPClient`.
final class KeySetDownload: Sendable {
    /// Contract §3: 5 s for everything, from the name's resolution to the last byte.
    static let timeLimit = Duration.seconds(5)
    static let byteLimit = 1 << 20
    /// To one host: sources of one provider do not wait for each other.
    private static let connections = 8

    enum Failure: Error, CustomStringConvertible {
        case status(UInt)
        case connection(StrictHTTPClient.Failure)
        case keys(KeyProblem)

        /// Never holds what the server sent.
        var description: String {
            switch self {
            case .status(let status): "the status is \(status)"
            case .connection(let failure): "\(failure)"
            case .keys(let problem): "the key set \(problem)"
            }
        }
    }

    private let client: StrictHTTPClient

    init(group: any EventLoopGroup) {
        client = StrictHTTPClient(group: group, connections: Self.connections)
    }

    /// A reload: connections that only sources which are gone could use end.
    func keep(_ sources: [KeySource]) async { await client.keep(Set(sources.map(\.authorities))) }

    func shutDown() async { await client.shutDown() }

    func keys(of source: KeySource) async -> Result<KeySet, Failure> {
        var request = HTTPClientRequest(url: source.url)
        request.headers.add(name: "Accept", value: "application/jwk-set+json, application/json")
        request.headers.add(name: "User-Agent", value: "portcullis")
        let answer = await client.answer(
            to: request, trusting: source.authorities, within: Self.timeLimit, reading: [200], upTo: Self.byteLimit)
        switch answer {
        case .failure(let failure): return .failure(.connection(failure))
        case .success(let answer) where answer.status != 200: return .failure(.status(answer.status))
        case .success(let answer):
            do throws(KeyProblem) {
                return .success(try KeySet(jwks: answer.body, algorithms: source.algorithms))
            } catch {
                return .failure(.keys(error))
            }
        }
    }
}
