// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// The logouts of this gateway that are not answered yet: who still has to confirm each (architecture: fence). Knows no socket and no clock.
///
/// A fence is published after its logout has been written. When it has come back over this gateway's own push connection, all that had a
/// heartbeat before it are in the view. Whoever was alive in it when the fence was opened, or has come since, is waited for: each of them either
/// acknowledges, or has had no lease since `staleness` after the fence: a lease reaches no further than `staleness` beyond a moment up to which its
/// owner had heard everything (`LeaseMachine`).
struct FenceBook {
    struct Settings {
        /// How often what is not acknowledged is published again: a gateway may have been between two push connections.
        var resend: TimeAmount
        /// After that nobody can know who has confirmed it: a fault, the logout is to be repeated.
        var patience: TimeAmount
    }

    /// One logout whose answer waits.
    struct Pending {
        var fence: FleetMessage.Fence
        let since: NIODeadline
        var published: NIODeadline
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
    /// The greatest sequence that each gateway has acknowledged; forgotten when nothing is pending.
    private var acknowledged: [String: UInt64] = [:]

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
        pending[sequence] = Pending(fence: fence, since: now, published: now)
        return fence
    }

    /// Our own fence has come back.
    mutating func echoed(_ sequence: UInt64) {
        pending[sequence]?.isEchoed = true
    }

    /// Since when gateways have to be remembered for what is not decided yet; nil: nothing is undecided.
    var undecidedSince: NIODeadline? { pending.values.lazy.filter { !$0.isDecided }.map(\.since).min() }
    /// Whether `decide` has something to decide.
    var hasUndecided: Bool { pending.values.contains { $0.isEchoed && !$0.isDecided } }

    /// Settles who has to confirm what has come back. `living`: the view of this moment, without ourselves; nil as long as it is not complete.
    ///
    /// Not only who is alive *now*: this gateway may have been stopped since, and what would have kept another one alive is still unread behind the echo.
    mutating func decide(living: FleetView.Living?, now: NIODeadline) {
        guard let living else { return }
        for (sequence, var fence) in pending where fence.isEchoed && !fence.isDecided {
            fence.isDecided = true
            if fence.since < living.knowsSince { fence.strangersEnd = now + living.assumed }
            for (edge, staleness, until) in living.edges where until > fence.since && acknowledged[edge] ?? 0 < sequence {
                fence.waiting.insert(edge)
                fence.waitEnd = max(fence.waitEnd, now + staleness)
            }
            pending[sequence] = fence
        }
    }

    /// Everything up to `sequence` has been applied there.
    mutating func heardAcknowledgement(_ edge: String, upTo sequence: UInt64) {
        acknowledged[edge] = max(acknowledged[edge] ?? 0, sequence)
        for number in pending.keys where number <= sequence { pending[number]?.waiting.remove(edge) }
    }

    /// It has ended properly: with its connections all that it had open.
    mutating func heardFarewell(_ edge: String) {
        for number in pending.keys { pending[number]?.waiting.remove(edge) }
    }

    /// What is decided now: confirmed by everybody, or nobody can know any more.
    mutating func settle(now: NIODeadline) -> (confirmed: [UInt64], failed: [UInt64]) {
        var confirmed: [UInt64] = []
        var failed: [UInt64] = []
        for (number, fence) in pending {
            if fence.isDecided, fence.over <= now {
                confirmed.append(number)
            } else if now - fence.since >= settings.patience {
                failed.append(number)
            }
        }
        for number in confirmed + failed { pending[number] = nil }
        if pending.isEmpty { acknowledged.removeAll() }
        return (confirmed, failed)
    }

    /// What has to be published again now.
    mutating func resend(now: NIODeadline) -> [FleetMessage.Fence] {
        let late = pending.filter { now - $0.value.published >= settings.resend }.keys.sorted()
        return late.compactMap { number in
            pending[number]?.published = now
            return pending[number]?.fence
        }
    }

    /// When `settle` or `resend` has something to do at the latest; nil: nothing is pending.
    var due: NIODeadline? {
        pending.values.lazy.map { fence in
            var due = min(fence.since + settings.patience, fence.published + settings.resend)
            if fence.isDecided { due = min(due, fence.over) }
            return due
        }.min()
    }
}
