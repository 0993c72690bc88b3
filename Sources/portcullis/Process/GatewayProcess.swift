// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Control
import Gateway
import Glibc
import Logging
import NIOCore
import NIOPosix
import RedisSessions
import Sessions
import Synchronization
import Tokens
import UnixSignals

/// The whole process of `serve` and `demo`: store, control plane and data plane, from the start to the drain.
///
/// Everything that changes it (signals, a changed file, new keys) goes through one queue, so that a reload never meets another.
struct GatewayProcess {
    /// How long the start waits for the key sets of URLs before it goes on without. Readiness does not depend on them.
    static let keySetPatience = Duration.milliseconds(500)

    enum Event: Sendable {
        case hangup, fileChanged, keysChanged(issuer: String), terminate
    }

    /// What reading the configuration again came to.
    enum Loaded: Sendable {
        case plan(Plan)
        /// Each line as `check` prints it; the digest is of everything that was read.
        case problems([String], digest: [UInt8])
    }

    let output: LineWriter
    let level: LogLevel

    /// Runs until it is told to end.
    ///
    /// - Parameters:
    ///   - path: the file to watch; nil for none.
    ///   - load: reads the configuration anew; `current` tells what needs a restart when it changes.
    ///   - started: called when all listeners are open.
    func run(
        _ first: Plan, watching path: String?, load: @escaping @Sendable (_ current: Plan) -> Loaded,
        started: @escaping @Sendable (OpenStore) async throws(Failure) -> Void = { _ in }
    ) async throws(Failure) {
        let logger = Logger(label: "portcullis") { label in JSONLogHandler(label: label, level: level, output: output) }
        raiseDescriptorLimit(for: first, logger)
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: first.workers)
        let controlLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let (events, queue) = AsyncStream.makeStream(of: Event.self)
        let dataPlane = DataPlaneLink()
        let store = first.store.open(eventLoop: controlLoop.next(), logger: logger)
        let fetcher = KeySetFetcher(sources: first.keySources, eventLoopGroup: controlLoop, logger: logger) { queue.yield(.keysChanged(issuer: $0)) }
        let control: ControlPlane
        do throws(ControlFailure) {
            control = try ControlPlane(
                store: store.sessions, dataPlane: dataPlane, configuration: first.control, adminAddress: first.adminAddress,
                eventLoopGroup: controlLoop,
                logger: logger, audit: { [output] line in output.write(line + [UInt8(ascii: "\n")]) }, auditCopy: store.audit,
                keyUnknown: { fetcher.keyUnknown($0) })
        } catch {
            throw .cannotBind(error.description)
        }
        let accessLog = AccessLog(output)
        let result: Result<Void, Failure> = await withTaskGroup(of: Result<Void, Failure>?.self) { tasks in
            tasks.addTask {
                do {
                    try await control.run()
                    return nil
                } catch let failure as ControlFailure {
                    return .failure(.cannotBind(failure.description))
                } catch {
                    return .failure(.internalFault("the control plane ended: \(type(of: error))"))
                }
            }
            tasks.addTask {
                await fetcher.run()
                return nil
            }
            tasks.addTask { await Self.listenToSignals(queue) { control.removeFolder() } }
            tasks.addTask { await Self.ruleOutEviction(first, store, dataPlane) }
            if let path { tasks.addTask { await Self.watch(path, queue) } }
            tasks.addTask { [self] in
                do throws(Failure) {
                    var life = try await Life(
                        first, process: self, loops: loops, store: store, control: control, fetcher: fetcher, dataPlane: dataPlane,
                        accessLog: accessLog,
                        logger: logger, path: path, load: load)
                    try await started(store)
                    try await life.live(events)
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
            var result = Result<Void, Failure>.success(())
            for await ended in tasks {
                guard let ended else { continue }
                result = ended
                tasks.cancelAll()
                break
            }
            return result
        }
        await accessLog.flush()
        await store.close()
        output.flush()
        try result.get()
    }

    /// A store that may drop revocations is refused at the first contact, whenever that is.
    private static func ruleOutEviction(_ plan: Plan, _ store: OpenStore, _ dataPlane: DataPlaneLink) async -> Result<Void, Failure>? {
        while plan.mustNotEvict {
            switch await store.eviction() {
            case .none:
                dataPlane.storeIsFit = true
                return nil
            case .evicts(let policy): return .failure(.configuration(evictionProblem(policy)))
            case .unknown:
                guard (try? await Task.sleep(for: .milliseconds(100))) != nil else { return nil }
            }
        }
        dataPlane.storeIsFit = true
        return nil
    }

    static func evictionProblem(_ policy: String) -> String {
        "store.redis: maxmemory-policy is \(policy), which may drop revocations; with revocable issuers set it to noeviction"
    }

    /// The first request to end begins the drain; the second ends the process.
    private static func listenToSignals(
        _ queue: AsyncStream<Event>.Continuation, beforeExit: @escaping @Sendable () -> Void
    ) async -> Result<Void, Failure>? {
        var isEnding = false
        for await signal in await UnixSignalsSequence(trapping: .sighup, .sigterm, .sigint) {
            switch signal {
            case .sighup: queue.yield(.hangup)
            default:
                if isEnding {
                    beforeExit()
                    _exit(0)
                }
                isEnding = true
                queue.yield(.terminate)
            }
        }
        return nil
    }

    private static func watch(_ path: String, _ queue: AsyncStream<Event>.Continuation) async -> Result<Void, Failure>? {
        var watch = FileWatch(path)
        while (try? await Task.sleep(nanoseconds: FileWatch.interval)) != nil {
            if watch.hasChanged(now: NIODeadline.now().uptimeNanoseconds) { queue.yield(.fileChanged) }
        }
        return nil
    }

    /// Each connection is a descriptor, and so is each one to an upstream.
    private func raiseDescriptorLimit(for plan: Plan, _ logger: Logger) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        if limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        if limit.rlim_cur < UInt(plan.settings.limits.connections) {
            logger.warning(
                "Fewer descriptors are allowed (ulimit -n) than limits.connections needs",
                metadata: ["descriptors": "\(limit.rlim_cur)", "connections": "\(plan.settings.limits.connections)"])
        }
    }

    /// Why the process ends before it was told to.
    enum Failure: Error, Sendable {
        case configuration(String)
        case cannotBind(String)
        case cannotReach(String)
        case internalFault(String)
    }
}

/// The data plane as the control plane sees it: the control plane is there first.
final class DataPlaneLink: DataPlane {
    private struct State {
        var server: GatewayServer?
        var isListening = false
        var storeIsFit = false
    }

    private let state = Mutex(State())

    func connect(_ server: GatewayServer) { state.withLock { $0.server = server } }

    var isListening: Bool {
        get { state.withLock { $0.isListening } }
        set { state.withLock { $0.isListening = newValue } }
    }

    /// The store has been found not to evict, where that matters.
    var storeIsFit: Bool {
        get { state.withLock { $0.storeIsFit } }
        set { state.withLock { $0.storeIsFit = newValue } }
    }

    var isReady: Bool { state.withLock { $0.isListening && $0.storeIsFit } }
    var isDraining: Bool { state.withLock { $0.server }?.isDraining ?? false }

    func metricsText() async -> String { await state.withLock { $0.server }?.metrics().text() ?? "" }
}

/// A level that reloads change while loggers hold it.
final class LogLevel: Sendable {
    private let value: Atomic<Int>
    init(_ level: Logger.Level) { value = Atomic(Logger.Level.allCases.firstIndex(of: level) ?? 2) }
    var level: Logger.Level {
        get { Logger.Level.allCases[value.load(ordering: .relaxed)] }
        set { value.store(Logger.Level.allCases.firstIndex(of: newValue) ?? 2, ordering: .relaxed) }
    }
}
