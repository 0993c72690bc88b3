// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Tokens

/// The life of a request, told once and in order, with the names of the contract's §4:
///
///     parse → normalise → route → clean → authenticate ─┬─▶ session → authorise → forward → answer → end
///                                                        └─▶ (no session to ask about)
///
/// All stages but two are synchronous and pure; the two seams are the session's answer (`sessionAnswered`) and the
/// upstream (`upstreamReady` and what follows it).
///
///     idle ─▶ judging ─▶ session ─▶ (gathering) ─▶ connecting ─▶ sending ─▶ responding ─▶ idle
///                └──────────┴────────────┴─────────────┴────────────┴─▶ (refused) ─▶ idle  └─▶ tunnel ─▶ ended
///
/// `gathering` is for the session API alone, whose bodies are small: nobody who sends one slowly holds a connection to it.
///
/// Here is what leads to the decision. What follows it has files of its own, in this order: `Forwarding`, `Answering`, `Tunnel`, `Ending`; the ways that
/// few requests go have theirs beside what they use: a token that is not remembered in `Identity`, a limit in
/// `RateLimit`, a silent store in `RecentSessions`.
///
/// One for each client connection, used again for each of its requests; confined to its loop.
final class Exchange: SessionWaiter {
    enum State: UInt8 {
        case idle, judging, session, gathering, connecting, sending, responding, tunnel, ended
    }

    let loop: GatewayLoop
    unowned let downstream: Downstream
    private let peer: PeerAddress
    private let isSecure: Bool
    var state = State.idle
    /// Changes with every request, so that what comes late is recognised as another's.
    var ticket: UInt32 = 0

    // What the request is.
    var snapshot: Snapshot
    /// Index in the snapshot's routes; -1 as long as none has been found.
    var route = -1
    var method = MethodKind.other
    var minorVersion = 1
    var requestFraming = BodyFraming.none
    var expectsContinue = false
    var wantsHTML = false
    var carriesUpgrade = false
    /// What an upgrade asks for, as the client spelled it.
    var upgradeProtocol: [UInt8] = []
    /// An upgrade by cookie from elsewhere (contract §4.7).
    private var originDisagrees = false
    var remembered: RememberedToken?
    /// A revocation came while the store was being asked.
    var endedMeanwhile = false
    /// It may have been ended while the store was being asked: no grace.
    var isUnconfirmed = false
    /// The store has been silent for too long: until then (`LeaseClock`) the exchange may go on all the same (`allow_recent`).
    var graceEnd: NIODeadline?
    /// The turn in which it was decided that it may go on (`mayGoOn`); nil outside of turns.
    var allowedTurn: NIODeadline?
    /// For a limit that counts once the session is known to be good.
    var clientAddress = Address.loopback

    // What is sent to the upstream.
    var upstreamHead: ByteBuffer
    var anonymousHead: ByteBuffer?
    var pool: UpstreamPool?
    var upstream: UpstreamConnection?
    var tries = 0
    var upstreamIsDirty = false
    var requestIsComplete = false
    /// The body of a request to the session API.
    var gathered: ByteBuffer

    // What is sent to the client.
    var outgoing: ByteBuffer
    var hasOutgoing = false
    var clientFraming = BodyFraming.none
    var closesClient = false
    var webSocketToClient: WebSocketFrames?
    var webSocketToUpstream: WebSocketFrames?

    // When, and how much.
    var lastByte = NIODeadline.uptimeNanoseconds(0)
    var asked = NIODeadline.uptimeNanoseconds(0)
    var sent = NIODeadline.uptimeNanoseconds(0)
    var record = AccessRecord()

    init(loop: GatewayLoop, downstream: Downstream, peer: PeerAddress, isSecure: Bool) {
        self.loop = loop
        self.downstream = downstream
        self.peer = peer
        self.isSecure = isSecure
        self.snapshot = loop.snapshot
        self.upstreamHead = loop.noBytes
        self.gathered = loop.noBytes
        self.outgoing = loop.noBytes
        super.init()
    }

    // MARK: - parse → normalise → route → clean → authenticate

    /// What the synchronous stages come to.
    private enum Verdict {
        case refuse(Rejection)
        case forward
        case ask(SessionReference)
    }

    /// A head has been parsed. `bytes` begin with it and are looked at now or never.
    func begin(_ head: RequestHead, _ bytes: ByteBuffer) {
        state = .judging
        snapshot = loop.snapshot
        asked = loop.now
        route = -1
        tries = 0
        method = head.methodKind
        minorVersion = head.minorVersion
        requestFraming = head.framing
        expectsContinue = head.expectsContinue
        wantsHTML = false
        carriesUpgrade = false
        originDisagrees = false
        endedMeanwhile = false
        isUnconfirmed = false
        graceEnd = nil
        allowedTurn = nil
        switch head.framing {
        case .none, .untilClose, .counted(0): requestIsComplete = true
        case .counted, .chunked: requestIsComplete = false
        }
        loop.counters.requestBegan()
        switch bytes.withUnsafeReadableBytes({ judge(head, $0) }) {
        case .refuse(let rejection): answer(rejection)
        case .forward: connect()
        case .ask(let reference):
            state = .session
            sent = asked
            // Before it is asked: whatever ends the session from now on reaches this exchange.
            loop.lookup.hold(reference, self)
            loop.lookup.ask(reference, self)
        }
    }

    private func judge(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Verdict {
        let snapshot = snapshot
        let client = snapshot.view(head, bytes, peer: peer, isSecure: isSecure)
        let correlation = loop.ids.correlate(head, bytes)
        record.begin(correlation.requestID)
        if snapshot.accessLog { record.describe(head, bytes, client: client, peer: peer) }

        // normalise
        guard head.targetForm != .asterisk else { return .refuse(.routeNotFound) }
        var path = bytes[head.path]
        switch loop.normaliser.normalise(
            path, mergeSlashes: snapshot.configuration.paths.mergeDuplicateSlashes,
            keepEncodedSlashes: snapshot.configuration.paths.keepEncodedSlashes)
        {
        case .unchanged: break
        case .rewritten: path = loop.normaliser.output
        case .refused: return .refuse(.badRequest)
        }

        // route
        let found: Route
        switch snapshot.matcher.match(path: path, host: bytes[head.host], method: bytes[head.method]) {
        case .route(let index):
            route = index
            found = snapshot.routes[index]
            pool = loop.pool(found.upstream)
        case .notFound: return .refuse(.routeNotFound)
        case .methodNotAllowed(let allow): return .refuse(.methodNotAllowed(allow: allow))
        }
        if found.loginRedirect != nil { wantsHTML = Browser.wantsHTML(head, bytes) }
        if case .counted(let length) = head.framing, snapshot.limits.bodyBytes > 0, length > snapshot.limits.bodyBytes {
            return .refuse(.bodyTooLarge)
        }

        // clean
        if let rejection = snapshot.cleaning.judge(head, bytes) { return .refuse(rejection) }
        carriesUpgrade = Upgrade.isCarried(head, bytes)
        if carriesUpgrade, let named = head.upgrade { upgradeProtocol = Array(bytes[named]) }

        // authenticate
        var identity: RememberedToken?
        if found.auth != .none {
            switch authenticate(head, bytes, found, client) {
            case .success(let token): identity = token
            case .failure(.tokenMissing) where found.auth == .optional: break
            case .failure(let rejection) where found.auth == .optional && rejection.isUnauthenticated: break
            case .failure(let rejection): return .refuse(rejection)
            }
        }
        if let limit = found.rateLimit {
            clientAddress = client.address
            // A session that is revoked uses up nothing of its user's.
            let waits = identity?.reference != nil && limit.by != .address
            if !waits, let rejection = countAgainstLimit(found, identity) { return .refuse(rejection) }
        }

        // The head for the upstream is written while the client's is at hand; it is sent when all has been decided.
        remembered = identity
        var assertion: [UInt8]?
        if let identity, snapshot.configuration.identity.assertion != nil {
            assertion = snapshot.identity.assertion(for: identity, route: found, now: loop.unixTime)
        }
        upstreamHead = loop.takeBuffer()
        snapshot.cleaning.writeRequestHead(
            head, bytes, route: found, path: path, identity: identity,
            assertion: assertion, client: client, peer: peer,
            correlation: correlation, carriesUpgrade: carriesUpgrade, into: &upstreamHead)
        guard let identity else { return .forward }
        if found.auth == .optional {
            // Should the session be revoked, the request is anonymous.
            var anonymous = loop.takeBuffer()
            snapshot.cleaning.writeRequestHead(
                head, bytes, route: found, path: path, identity: nil, assertion: nil, client: client, peer: peer, correlation: correlation,
                carriesUpgrade: carriesUpgrade, into: &anonymous)
            anonymousHead = anonymous
        }
        if let reference = identity.reference { return .ask(reference) }
        if let rejection = authorise(identity, found) { return .refuse(rejection) }
        return .forward
    }

    private func authenticate(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ route: Route, _ client: ClientView
    ) -> Result<RememberedToken, Rejection> {
        let snapshot = snapshot
        switch snapshot.credentials.find(head, bytes) {
        case .none: return .failure(.tokenMissing)
        case .ambiguous: return .failure(.tokenAmbiguous)
        case .token(let range, let source):
            let token = UnsafeRawBufferPointer(rebasing: bytes[Int(range.start)..<Int(range.end)])
            let now = loop.unixTime
            let hash = loop.tokens.hash(token)
            let result: RememberedToken
            if let known = loop.tokens.find(token, hash: hash, now: now) {
                loop.counters.tokenVerified(nil, source: .cache)
                result = known
            } else {
                switch verify(token, hash: hash, now: now) {
                case .success(let verified): result = verified
                case .failure(let rejection): return .failure(rejection)
                }
            }
            guard route.acceptsIssuer(result.issuer) else { return .failure(.token(.issuer)) }
            if source == .cookie, carriesUpgrade { originDisagrees = !SameOrigin.holds(head, bytes, client) }
            return .success(result)
        }
    }

    // MARK: - session

    override func sessionAnswered(_ answer: SessionAnswer, from source: SessionAnswerSource) {
        guard state == .session, let reference = remembered?.reference else { return }
        // One that is remembered comes within the turn in which it was asked for.
        if source == .store { loop.beginTurn() }
        defer { if source == .store { loop.endTurn() } }
        let now = loop.now
        loop.counters.sessionAnswered(answer, after: now - sent, source: source)
        switch endedMeanwhile ? .revoked : answer {
        case .active:
            if loop.remembersConfirmations { wasConfirmed(reference, by: source) }
            sessionIsGood()
        case .revoked:
            if loop.remembersConfirmations {
                loop.recent.remove(user: reference.user, session: reference.session)
                loop.shared.forget(user: reference.user, session: reference.session, except: loop)
            }
            sessionIsRevoked()
        case .unavailable:
            guard !isUnconfirmed, snapshot.routes[route].whenUnavailable == .allowRecent, snapshot.configuration.revocation.grace > .zero else {
                return refuse(.storeUnavailable)
            }
            let own = loop.recent.lastConfirmed(user: reference.user, reference.questionKey)
            if passesByGrace(own) { return sessionIsGood() }
            askNeighbours(reference)
        }
    }

    /// At any time from when it was asked for until the exchange is over.
    override func sessionEnded(_ ending: SessionEnding) {
        switch ending {
        case .revoked: end(.revoked)
        case .expired: end(.expired)
        case .storeSilent: storeFellSilent()
        case .unconfirmed:
            isUnconfirmed = true
            end(.storeSilent)
        }
    }

    func sessionIsGood() {
        guard let remembered else { return }
        let found = snapshot.routes[route]
        if let limit = found.rateLimit, limit.by != .address, let rejection = countAgainstLimit(found, remembered) { return refuse(rejection) }
        if let rejection = authorise(remembered, found) { return refuse(rejection) }
        connect()
    }

    func sessionIsRevoked() {
        guard let anonymousHead else { return refuse(.sessionRevoked) }
        loop.recycle(upstreamHead)
        upstreamHead = anonymousHead
        self.anonymousHead = nil
        remembered = nil
        loop.lookup.release(self)
        let found = snapshot.routes[route]
        if let limit = found.rateLimit, limit.by != .address, let rejection = countAgainstLimit(found, nil) { return refuse(rejection) }
        connect()
    }

    // MARK: - authorise

    private func authorise(_ token: RememberedToken, _ route: Route) -> Rejection? {
        if originDisagrees { return .originMismatch }
        return Authorisation.judge(token, route)
    }

    // MARK: - forward → answer → end

    func connect() {
        if !requestIsComplete, snapshot.routes[route].isSessionAPI { return gather() }
        state = .connecting
        pool?.connect(self)
    }
}
