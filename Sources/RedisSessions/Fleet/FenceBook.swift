// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// The logouts of this gateway that are not answered yet: who still has to confirm each (architecture: fence). Knows no socket and no clock.
///
/// A fence is published after its logout has been written. When it has come back over this gateway's own push connection, all that had a
/// heartbeat before it are in the view. Whoever was alive in it when the fence was opened, or has come since, is waited for: each of them either
/// acknowledges, or has had no lease since `staleness` after the fence: a lease reaches no further than `staleness` beyond a moment up to which its
/// owner had heard everything (`LeaseMachine`).
///
/// Nothing here costs more with every event as more logouts are under way: what may be over is looked through when an answer has come, or a time.
struct FenceBook {
    struct Settings {
        /// After which what is not acknowledged is published again, the first time; a gateway may have been between two push connections. Then after
        /// twice as long, and so on: whoever listens has it.
        var resend: TimeAmount
        /// After that without a decision nobody can know who has confirmed it: a fault, the logout is to be repeated.
        var patience: TimeAmount
    }

    /// One logout whose answer waits.
    private struct Pending {
        let fence: FleetMessage.Fence
        let since: NIODeadline
        var resendAt: NIODeadline
        var resendPause: TimeAmount
        /// It has come back: whoever had a heartbeat before it has been heard of.
        var isEchoed = false
        /// Who has to confirm it has been settled.
        var isDecided = false
        /// Who may still act and has not acknowledged.
        var waiting: Set<String> = []
        /// Until when any of them may, at the latest.
        var waitEnd = NIODeadline.uptimeNanoseconds(0)
        /// Until when somebody may of whom nothing is known.
        var strangersEnd = NIODeadline.uptimeNanoseconds(0)
        /// When nobody has to be waited for any more.
        var over: NIODeadline { waiting.isEmpty ? strangersEnd : max(strangersEnd, waitEnd) }
    }

    private let settings: Settings
    private var sequence: UInt64 = 0
    private var pending: [UInt64: Pending] = [:]
    /// No pending one is older.
    private var oldest: UInt64 = 1
    /// Those that are not decided, and how many of them have come back.
    private var undecided: Set<UInt64> = []
    private var echoedUndecided = 0
    /// The greatest sequence that each gateway has acknowledged; forgotten when nothing is pending.
    private var acknowledged: [String: UInt64] = [:]
    /// When the next one is over, has failed or is to be published again, at the earliest; and whether one may be over already.
    private var nextCheck = NIODeadline.distantFuture
    private var isDirty = false

    init(_ settings: Settings) {
        self.settings = settings
    }

    var isEmpty: Bool { pending.isEmpty }
    /// How many entries it keeps.
    var size: Int { pending.count + acknowledged.count }

    /// A new fence, to be published now. Its sequence is filled in.
    mutating func open(_ fence: FleetMessage.Fence, now: NIODeadline) -> FleetMessage.Fence {
        sequence += 1
        var fence = fence
        fence.sequence = sequence
        pending[sequence] = Pending(fence: fence, since: now, resendAt: now + settings.resend, resendPause: settings.resend)
        undecided.insert(sequence)
        nextCheck = min(nextCheck, now + min(settings.resend, settings.patience))
        return fence
    }

    /// Our own fence has come back.
    mutating func echoed(_ sequence: UInt64) {
        guard let fence = pending[sequence], !fence.isEchoed else { return }
        pending[sequence]?.isEchoed = true
        echoedUndecided += 1
    }

    /// Since when gateways have to be remembered for what is not decided yet; nil: nothing is undecided.
    var undecidedSince: NIODeadline? { undecided.min().flatMap { pending[$0]?.since } }
    /// Whether `decide` has something to decide.
    var hasUndecided: Bool { echoedUndecided > 0 }

    /// Settles who has to confirm what has come back. `living`: the view of this moment, without ourselves; nil as long as it is not complete.
    ///
    /// Not only who is alive *now*: this gateway may have been stopped since, and what would have kept another one alive is still unread behind the echo.
    mutating func decide(living: FleetView.Living?, now: NIODeadline) {
        guard let living, hasUndecided else { return }
        for sequence in undecided {
            guard var fence = pending[sequence], fence.isEchoed else { continue }
            fence.isDecided = true
            if fence.since < living.knowsSince { fence.strangersEnd = now + living.assumed }
            for (edge, staleness, until) in living.edges where until > fence.since && acknowledged[edge] ?? 0 < sequence {
                fence.waiting.insert(edge)
                fence.waitEnd = max(fence.waitEnd, now + staleness)
            }
            pending[sequence] = fence
        }
        undecided = undecided.filter { pending[$0].map { !$0.isDecided } ?? false }
        echoedUndecided = 0
        isDirty = true
    }

    /// Everything up to `sequence` has been applied there.
    mutating func heardAcknowledgement(_ edge: String, upTo sequence: UInt64) {
        guard !pending.isEmpty else { return }
        let before = acknowledged[edge] ?? 0
        let first = max(before + 1, oldest), last = min(sequence, self.sequence)
        guard first <= last else { return }
        acknowledged[edge] = last
        for number in first...last where pending[number]?.waiting.remove(edge) != nil { isDirty = true }
    }

    /// It has ended properly: with its connections all that it had open.
    mutating func heardFarewell(_ edge: String) {
        for number in pending.keys where pending[number]?.waiting.remove(edge) != nil { isDirty = true }
    }

    /// What is decided now: confirmed by everybody, or nobody can know any more.
    mutating func settle(now: NIODeadline) -> (confirmed: [UInt64], failed: [UInt64]) {
        guard isDirty || now >= nextCheck else { return ([], []) }
        var confirmed: [UInt64] = []
        var failed: [UInt64] = []
        for (number, fence) in pending {
            if fence.isDecided {
                if fence.over <= now { confirmed.append(number) }
            } else if now - fence.since >= settings.patience {
                failed.append(number)
            }
        }
        for number in confirmed + failed {
            if pending.removeValue(forKey: number).map({ $0.isEchoed && !$0.isDecided }) ?? false { echoedUndecided -= 1 }
            undecided.remove(number)
        }
        while oldest <= sequence, pending[oldest] == nil { oldest += 1 }
        if pending.isEmpty { acknowledged.removeAll() }
        checked()
        return (confirmed, failed)
    }

    /// What has to be published again now.
    mutating func resend(now: NIODeadline) -> [FleetMessage.Fence] {
        guard now >= nextCheck else { return [] }
        let late = pending.filter { now >= $0.value.resendAt }.keys.sorted()
        let fences = late.compactMap { number -> FleetMessage.Fence? in
            guard var fence = pending[number] else { return nil }
            fence.resendPause = fence.resendPause + fence.resendPause
            fence.resendAt = now + fence.resendPause
            pending[number] = fence
            return fence.fence
        }
        checked()
        return fences
    }

    private mutating func checked() {
        isDirty = false
        nextCheck = .distantFuture
        for fence in pending.values {
            nextCheck = min(nextCheck, fence.resendAt, fence.isDecided ? fence.over : fence.since + settings.patience)
        }
    }

    /// When `settle` or `resend` has something to do at the latest; nil: nothing is pending.
    var due: NIODeadline? { pending.isEmpty ? nil : nextCheck }
}
