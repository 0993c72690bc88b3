// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Control
import Gateway
import Logging
import NIOPosix
import Tokens

extension GatewayProcess {
    /// The data plane in its process: start, reloads, new keys, drain. Used by one task alone.
    struct Life {
        private var plan: Plan
        /// Of what was read last, whether it was put in force or not.
        private var lastDigest: [UInt8]
        private let process: GatewayProcess
        private let server: GatewayServer
        private let store: OpenStore
        private let control: ControlPlane
        private let fetcher: KeySetFetcher
        private let dataPlane: DataPlaneLink
        private let logger: Logger
        /// The configuration's file, for messages; nil where there is none.
        private let path: String?
        private let load: @Sendable (_ current: Plan) -> Loaded

        /// Starts everything: the control plane listens, then the data plane does.
        init(
            _ plan: Plan, process: GatewayProcess, loops: MultiThreadedEventLoopGroup, store: OpenStore, control: ControlPlane,
            fetcher: KeySetFetcher,
            dataPlane: DataPlaneLink, accessLog: AccessLog, logger: Logger, path: String?,
            load: @escaping @Sendable (_ current: Plan) -> Loaded
        ) async throws(Failure) {
            var plan = plan
            plan.serveControl(at: control.apiSocketPath)
            lastDigest = plan.digest
            self.process = process
            self.store = store
            self.control = control
            self.fetcher = fetcher
            self.dataPlane = dataPlane
            self.logger = logger
            self.path = path
            self.load = load
            do throws(ControlFailure) { try await control.whenListening() } catch { throw .cannotBind(error.description) }
            await fetcher.firstAttempts(within: GatewayProcess.keySetPatience)
            plan.use(keysOf: fetcher)
            control.update(plan.control)
            do {
                server = try await GatewayServer(
                    configuration: plan.gateway, group: loops, store: store.sessions, logger: logger, accessLog: accessLog,
                    keyMiss: { fetcher.keyUnknown($0) })
                dataPlane.connect(server)
                try await server.start()
            } catch let problem as BindProblem {
                throw .cannotBind(problem.description)
            } catch {
                throw .configuration("a certificate cannot be used: \(error)")
            }
            self.plan = plan
            for warning in plan.warnings { logger.warning("The configuration is in force, but look at this", metadata: ["warning": "\(warning)"]) }
            dataPlane.isListening = true
            logger.notice(
                "Listening",
                metadata: ["version": "\(Version.text)", "listeners": "\(plan.gateway.listeners.map(\.name).joined(separator: " "))"])
        }

        /// Returns after the drain.
        mutating func live(_ events: AsyncStream<Event>) async throws(Failure) {
            // Not at once: the first requests need some of what the start has needed, and the processor for themselves.
            async let _: Void = {
                guard (try? await Task.sleep(for: .milliseconds(500))) != nil else { return }
                ProgramPages.letGoOfStart()
            }()
            for await event in events {
                switch event {
                case .hangup: await reload(evenIfSame: true)
                case .fileChanged: await reload(evenIfSame: false)
                case .keysChanged(let issuer): await use(keysOf: issuer)
                case .terminate:
                    logger.notice("Draining")
                    await server.drain()
                    logger.notice("Drained")
                    return
                }
            }
        }

        private mutating func use(keysOf issuer: String) async {
            plan.use(keysOf: fetcher)
            control.update(verifier: plan.control.verifier)
            if let keys = fetcher.keys(of: issuer) { try? await server.use(keys: keys, ofIssuer: issuer) }
        }

        /// All or nothing.
        private mutating func reload(evenIfSame: Bool) async {
            switch load(plan) {
            case .problems(let lines, let digest):
                guard evenIfSame || digest != lastDigest else { return }
                lastDigest = digest
                reject(lines)
            case .plan(var new):
                guard evenIfSame || new.digest != lastDigest else { return }
                lastDigest = new.digest
                new.serveControl(at: control.apiSocketPath)
                if new.mustNotEvict, !plan.mustNotEvict {
                    switch await store.eviction() {
                    case .none: break
                    case .evicts(let policy): return reject(placed(GatewayProcess.evictionProblem(policy)))
                    case .unknown:
                        return reject(
                            placed("store.redis: has to tell its maxmemory-policy before the first revocable issuer: send SIGHUP when it answers"))
                    }
                }
                new.use(keysOf: fetcher)
                do {
                    try await server.apply(new.gateway)
                } catch {
                    return reject(placed("\((error as? BindProblem)?.description ?? "a certificate cannot be used: \(error)")"))
                }
                fetcher.update(sources: new.keySources)
                control.update(new.control)
                store.use(new.settings)
                process.level.level = new.logLevel
                store.audit?.update(new.store.auditStream)
                plan = new
                control.countReload(applied: true)
                logger.notice("The changed configuration is in force")
                for warning in plan.warnings {
                    logger.warning("The configuration is in force, but look at this", metadata: ["warning": "\(warning)"])
                }
            }
        }

        private func placed(_ problem: String) -> [String] { [path.map { "\($0): \(problem)" } ?? problem] }

        private func reject(_ lines: [String]) {
            for line in lines { StandardError.write(line) }
            control.countReload(applied: false)
            logger.error("The changed configuration is not used: nothing has changed", metadata: ["problems": "\(lines.count)"])
        }
    }
}
