// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import Sessions
import Synchronization
import Tokens
import WallTime

/// The control plane: the admin listener, and the session API on a private Unix socket that the data plane proxies to.
///
/// It outlives the data plane: in a `ServiceGroup` it stands before it, so that health and metrics are there while the data plane drains.
package final class ControlPlane: Service, Sendable {
    /// Where the data plane reaches the session API and the published keys.
    package let apiSocketPath: String

    private let configuration: Mutex<ControlConfiguration>
    private let sessionAPI: SessionAPI
    private let adminAPI: AdminAPI
    private let logins: LoginService
    private let metrics = ControlMetrics()
    private let folder: PrivateFolder
    private let adminAddress: ControlAddress
    private let group: any EventLoopGroup
    private let logger: Logger
    private let listening = ListeningLatch(sockets: 2)

    /// The last fault of the store that was met: one that goes on is told once.
    private let lastStoreFault = Mutex<(reason: String, at: ContinuousClock.Instant)?>(nil)
    /// How long the store must have been without a fault for the same one to be told again.
    private static let storeFaultSilence = Duration.seconds(10)

    /// Makes the folder of the private socket; binds nothing yet.
    ///
    /// - Parameters:
    ///   - audit: takes one JSON line without its end, from any task.
    ///   - auditCopy: takes the same entries, too.
    ///   - hashingThreads: how many passwords are hashed at once.
    ///   - keyUnknown: told the name of an issuer whose key set did not have a token's key.
    ///   - now: Unix time in milliseconds.
    package init(
        store: any SessionStore, dataPlane: any DataPlane, configuration: ControlConfiguration, adminAddress: ControlAddress,
        eventLoopGroup: any EventLoopGroup, logger: Logger, audit: @escaping @Sendable (_ line: [UInt8]) -> Void, auditCopy: (any AuditCopy)? = nil,
        hashingThreads: Int = 2,
        keyUnknown: @escaping @Sendable (_ issuer: String) -> Void = { _ in }, now: @escaping @Sendable () -> UnixMilliseconds = systemTime
    ) throws(ControlFailure) {
        folder = try PrivateFolder()
        apiSocketPath = folder.path(of: "session-api")
        self.configuration = Mutex(configuration)
        self.adminAddress = adminAddress
        group = eventLoopGroup
        self.logger = logger
        let sessions = SessionService(store: store, metrics: metrics, now: now)
        let audit = Audit(sink: audit, copy: auditCopy)
        let descriptions = Descriptions()
        logins = LoginService(
            throttle: LoginThrottle(store: store, now: now), hashingThreads: hashingThreads, group: eventLoopGroup, logger: logger)
        sessionAPI = SessionAPI(sessions: sessions, logins: logins, audit: audit, descriptions: descriptions, keyUnknown: keyUnknown)
        adminAPI = AdminAPI(
            sessions: sessions, dataPlane: dataPlane, metrics: metrics, audit: audit, descriptions: descriptions, keyUnknown: keyUnknown)
    }

    deinit {
        folder.remove()
    }

    /// A reload: calls that come from now on see `configuration`, those that run keep theirs.
    package func update(_ configuration: ControlConfiguration) {
        self.configuration.withLock { $0 = configuration }
        Task { [logins] in await logins.follow(configuration.login) }
    }

    /// Other key sets, nothing else. `verifier` has the same issuers in the same order.
    package func update(verifier: TokenVerifier) {
        configuration.withLock { $0.verifier = verifier }
    }

    /// For `portcullis_config_reloads_total`.
    package func countReload(applied: Bool) {
        metrics.reloaded(applied: applied)
    }

    /// For an end of the process that waits for nothing.
    package func removeFolder() { folder.remove() }

    /// Returns when both sockets are bound; throws what `run` throws when one cannot be.
    package func whenListening() async throws(ControlFailure) {
        try await listening.wait()
    }

    /// Serves until graceful shutdown or cancellation, and removes the private folder.
    package func run() async throws {
        let servers = [
            ControlServer(address: adminAddress, limits: .admin, group: group, logger: logger) { [self] request, peer in
                await respond(request, peer: peer?.ipAddress ?? "127.0.0.1") { try await adminAPI.answer($0) }
            },
            ControlServer(address: .unix(path: apiSocketPath), limits: .session, group: group, logger: logger) { [self] request, _ in
                await respond(request, peer: nil) { try await sessionAPI.answer($0) }
            },
        ]
        let result = await serve(servers)
        listening.failed(ControlFailure(address: adminAddress.description, reason: "has been closed"))
        await logins.shutDown()
        folder.remove()
        try result.get()
    }

    /// Runs the servers until both have ended; one that fails ends the other.
    private func serve(_ servers: [ControlServer]) async -> Result<Void, ControlFailure> {
        await withTaskGroup(of: Result<Void, ControlFailure>.self) { tasks in
            for server in servers {
                tasks.addTask { [listening] in
                    do throws(ControlFailure) {
                        try await server.run { listening.bound() }
                        return .success(())
                    } catch {
                        return .failure(error)
                    }
                }
            }
            var result = Result<Void, ControlFailure>.success(())
            for await ended in tasks {
                if case .failure(let failure) = ended, case .success = result {
                    result = ended
                    listening.failed(failure)
                    tasks.cancelAll()
                }
            }
            return result
        }
    }

    /// Reads the request, answers it, and turns whatever went wrong into an answer: the one place that does.
    private func respond(
        _ request: Request, peer: String?, _ answer: (SessionAPI.Call) async throws -> ControlAnswer
    ) async -> Response {
        let requestID = request.headers[.requestID]
        let isHead = request.method == .head
        do {
            let call = SessionAPI.Call(request: try await ControlRequest(request, peer: peer), configuration: configuration.withLock { $0 })
            return try await answer(call).response(isHead: isHead)
        } catch let refusal as Refusal {
            return ControlAnswer(refusal, requestID: requestID).response(isHead: isHead)
        } catch let fault as StoreUnavailable {
            let isNews = lastStoreFault.withLock { last in
                defer { last = (fault.reason, .now) }
                return last.map { $0.reason != fault.reason || .now - $0.at > Self.storeFaultSilence } ?? true
            }
            logger.log(level: isNews ? .warning : .debug, "The session store did not do it", metadata: ["reason": "\(fault.reason)"])
            return ControlAnswer(Refusal(fault), requestID: requestID).response(isHead: isHead)
        } catch {
            logger.error("A call failed for a reason of ours", metadata: ["type": "\(type(of: error))"])
            return ControlAnswer(Refusal.internalFault, requestID: requestID).response(isHead: isHead)
        }
    }
}
