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
/// One for each client connection, used again for each of its requests; confined to its loop.
final class Exchange: SessionWaiter {
    enum State: UInt8 {
        case idle, judging, session, gathering, connecting, sending, responding, tunnel, ended
    }

    private let loop: GatewayLoop
    private unowned let downstream: Downstream
    private let peer: PeerAddress
    private let isSecure: Bool
    private(set) var state = State.idle
    /// Changes with every request, so that what comes late is recognised as another's.
    private(set) var ticket: UInt32 = 0

    // What the request is.
    private var snapshot: Snapshot
    /// Index in the snapshot's routes; -1 as long as none has been found.
    private var route = -1
    private var method = MethodKind.other
    private var minorVersion = 1
    private var requestFraming = BodyFraming.none
    private(set) var expectsContinue = false
    private var wantsHTML = false
    private var carriesUpgrade = false
    /// What an upgrade asks for, as the client spelled it.
    private var upgradeProtocol: [UInt8] = []
    /// An upgrade by cookie from elsewhere (contract §4.7).
    private var originDisagrees = false
    private var remembered: RememberedToken?
    /// A revocation came while the store was being asked.
    private var endedMeanwhile = false
    /// For a limit that counts once the session is known to be good.
    private var clientAddress = Address.loopback

    // What is sent to the upstream.
    private var upstreamHead: ByteBuffer
    private var anonymousHead: ByteBuffer?
    private var pool: UpstreamPool?
    private var upstream: UpstreamConnection?
    private var tries = 0
    private var upstreamIsDirty = false
    private(set) var requestIsComplete = false
    /// The body of a request to the session API.
    private var gathered: ByteBuffer

    // What is sent to the client.
    private var outgoing: ByteBuffer
    private var hasOutgoing = false
    private var clientFraming = BodyFraming.none
    private var closesClient = false
    private var webSocketToClient: WebSocketFrames?
    private var webSocketToUpstream: WebSocketFrames?

    // When, and how much.
    private var lastByte = NIODeadline.uptimeNanoseconds(0)
    private var asked = NIODeadline.uptimeNanoseconds(0)
    private var sent = NIODeadline.uptimeNanoseconds(0)
    private var record = AccessRecord()

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
            loop.lookup.ask(reference, self)
        }
    }

    private func judge(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Verdict {
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
        switch snapshot.credentials.find(head, bytes) {
        case .none: return .failure(.tokenMissing)
        case .ambiguous: return .failure(.tokenAmbiguous)
        case .token(let range, let source):
            let token = UnsafeRawBufferPointer(rebasing: bytes[Int(range.start)..<Int(range.end)])
            let now = loop.unixTime
            let result: RememberedToken
            if let known = loop.tokens.find(token, now: now) {
                loop.counters.tokenVerified(nil, source: .cache)
                result = known
            } else {
                switch verify(token, now: now) {
                case .success(let verified): result = verified
                case .failure(let rejection): return .failure(rejection)
                }
            }
            guard route.acceptsIssuer(result.issuer) else { return .failure(.token(.issuer)) }
            if source == .cookie, carriesUpgrade { originDisagrees = !SameOrigin.holds(head, bytes, client) }
            return .success(result)
        }
    }

    /// The slow way: a token that this loop does not remember.
    private func verify(_ token: UnsafeRawBufferPointer, now: Double) -> Result<RememberedToken, Rejection> {
        switch snapshot.verifier.judge(token, now: now) {
        case .verified(let verified):
            do throws(TokenRefusal) {
                let result = try snapshot.identity.remember(verified, token: token, lookup: loop.lookup)
                loop.counters.tokenVerified(nil, source: .signature)
                loop.tokens.insert(result)
                return .success(result)
            } catch {
                loop.counters.tokenVerified(error, source: .signature)
                return .failure(.token(error))
            }
        case .refused(let refusal, let issuer):
            loop.counters.tokenVerified(refusal, source: .signature)
            if let issuer, refusal == .keyUnknown || refusal == .keysUnavailable {
                loop.shared.keyIsMissing(issuer: snapshot.configuration.issuers[issuer].name)
            }
            return .failure(refusal == .keysUnavailable ? .keysUnavailable : .token(refusal))
        }
    }

    // MARK: - session

    override func sessionAnswered(_ answer: SessionAnswer) {
        guard state == .session, let reference = remembered?.reference else { return }
        let now = loop.now
        loop.counters.sessionAnswered(answer, after: now - sent)
        switch endedMeanwhile ? .revoked : answer {
        case .active:
            if loop.remembersConfirmations { loop.recent.confirm(reference, at: now) }
            sessionIsGood()
        case .revoked:
            if loop.remembersConfirmations {
                loop.recent.remove(user: reference.user, session: reference.session)
                loop.shared.forget(user: reference.user, session: reference.session, except: loop)
            }
            sessionIsRevoked()
        case .unavailable:
            guard snapshot.routes[route].whenUnavailable == .allowRecent, snapshot.configuration.revocation.grace > .zero else {
                return refuse(.storeUnavailable)
            }
            let own = loop.recent.lastConfirmed(user: reference.user, session: reference.session)
            if isWithinGrace(own, now) { return sessionIsGood() }
            askNeighbours(reference)
        }
    }

    private func isWithinGrace(_ confirmed: NIODeadline?, _ now: NIODeadline) -> Bool {
        guard let confirmed else { return false }
        return now - confirmed < snapshot.configuration.revocation.grace
    }

    /// Another loop may have had the session confirmed more lately.
    private func askNeighbours(_ reference: SessionReference) {
        let ticket = ticket
        loop.shared.lastConfirmation(user: reference.user, session: reference.session, except: loop).assumeIsolated().whenComplete { [self] result in
            guard ticket == self.ticket, state == .session else { return }
            if endedMeanwhile { return sessionIsRevoked() }
            if case .success(let confirmed) = result, isWithinGrace(confirmed, loop.now) {
                sessionIsGood()
            } else {
                refuse(.storeUnavailable)
            }
        }
    }

    private func sessionIsGood() {
        guard let remembered else { return }
        let found = snapshot.routes[route]
        if let limit = found.rateLimit, limit.by != .address, let rejection = countAgainstLimit(found, remembered) { return refuse(rejection) }
        if let rejection = authorise(remembered, found) { return refuse(rejection) }
        connect()
    }

    private func sessionIsRevoked() {
        guard let anonymousHead else { return refuse(.sessionRevoked) }
        loop.recycle(upstreamHead)
        upstreamHead = anonymousHead
        self.anonymousHead = nil
        remembered = nil
        let found = snapshot.routes[route]
        if let limit = found.rateLimit, limit.by != .address, let rejection = countAgainstLimit(found, nil) { return refuse(rejection) }
        connect()
    }

    private func countAgainstLimit(_ route: Route, _ identity: RememberedToken?) -> Rejection? {
        loop.shared.rateLimits.admit(route, user: identity, address: clientAddress, now: asked)
    }

    // MARK: - authorise

    private func authorise(_ token: RememberedToken, _ route: Route) -> Rejection? {
        if originDisagrees { return .originMismatch }
        return Authorisation.judge(token, route)
    }
}

// MARK: - forward

extension Exchange {
    var isWaitingForUpstream: Bool { state == .connecting }

    /// `limits.body_bytes` as it was when the request began; 0: none.
    var bodyLimit: Int64 { snapshot.limits.bodyBytes }

    /// What the answer's framing depends on.
    var upstreamMethod: MethodKind { method }

    private func connect() {
        if !requestIsComplete, snapshot.routes[route].isSessionAPI { return gather() }
        state = .connecting
        pool?.connect(self)
    }

    func upstreamReady(_ connection: UpstreamConnection) {
        upstream = connection
        state = .sending
        sent = loop.now
        lastByte = sent
        connection.begin(self, head: upstreamHead)
        upstreamIsDirty = true
        if snapshot.routes[route].isSessionAPI { sendGathered(to: connection) }
        if requestIsComplete { flushToUpstream() } else { pumpBody() }
    }

    /// No connection, or none that gave an answer: tries again where that is safe (contract §3 `retries`), else answers.
    func upstreamFailed(_ fault: UpstreamFault) {
        upstream = nil
        switch state {
        case .connecting, .sending:
            if tries < snapshot.retries(route), isSafeToRepeat(fault) {
                tries += 1
                connect()
            } else {
                refuse(Rejection(fault))
            }
        case .responding, .tunnel: responseBroke()
        case .idle, .judging, .session, .gathering, .ended: return
        }
    }

    private func isSafeToRepeat(_ fault: UpstreamFault) -> Bool {
        switch fault {
        case .refused, .connectTimeout: return true
        case .exhausted, .brokenHead, .responseTimeout, .malformed: return false
        case .reset:
            guard requestFraming == .none || requestFraming == .counted(0) else { return false }
            switch method {
            case .get, .head, .options, .put, .delete, .trace: return true
            case .post, .patch, .connect, .other: return false
            }
        }
    }

    func flushToUpstream() {
        guard upstreamIsDirty else { return }
        upstreamIsDirty = false
        upstream?.flush()
    }

    // MARK: The request's body

    var wantsBody: Bool {
        switch state {
        case .gathering: true
        case .sending, .responding, .tunnel: upstream?.isWritable ?? false
        case .idle, .judging, .session, .connecting, .ended: false
        }
    }

    func upstreamBecameWritable() { pumpBody() }

    /// Takes what has come of the body. It may have come long ago, with no read to follow that would flush it.
    private func pumpBody() {
        downstream.pumpBody()
        flushToUpstream()
    }

    func requestBody(_ piece: ByteBuffer) {
        if state == .gathering { return add(toGathered: piece) }
        guard let upstream, piece.readableBytes > 0 else { return }
        lastByte = loop.now
        record.requestBytes += Int64(piece.readableBytes)
        if case .chunked = requestFraming {
            writeChunk(piece) { upstream.write($0) }
        } else {
            upstream.write(piece)
        }
        upstreamIsDirty = true
    }

    func requestEnded(trailers: ByteBuffer?) {
        requestIsComplete = true
        lastByte = loop.now
        sent = lastByte
        if state == .gathering { return connect() }
        guard let upstream else { return }
        if case .chunked = requestFraming {
            var buffer = loop.takeBuffer()
            snapshot.cleaning.writeLastChunk(trailers: trailers, fromClient: true, scanner: loop.trailerScanner, into: &buffer)
            upstream.write(buffer)
            upstreamIsDirty = true
        }
        flushToUpstream()
    }

    /// What the session API takes at most (contract §5), in bytes.
    private static let gatheredLimit = 64 << 10

    /// The session API's connections are few, so a body is there as a whole before one is taken.
    private func gather() {
        if case .counted(let length) = requestFraming, length > Int64(Self.gatheredLimit) { return refuse(.bodyTooLarge) }
        state = .gathering
        sent = loop.now
        gathered = loop.takeBuffer()
        if expectsContinue {
            downstream.write(loop.continueAnswer)
            downstream.flush()
        }
        downstream.pumpBody()
    }

    private func add(toGathered piece: ByteBuffer) {
        record.requestBytes += Int64(piece.readableBytes)
        guard gathered.readableBytes + piece.readableBytes <= Self.gatheredLimit else { return refuse(.bodyTooLarge) }
        gathered.writeImmutableBuffer(piece)
    }

    private func sendGathered(to connection: UpstreamConnection) {
        if case .chunked = requestFraming {
            // An empty chunk would be the last one.
            if gathered.readableBytes > 0 { writeChunk(gathered) { connection.write($0) } }
            connection.write(loop.lastChunk)
        } else if gathered.readableBytes > 0 {
            connection.write(gathered)
        }
    }

    /// The body turned out to be bad or too large: the upstream must never take it for whole.
    func requestBodyBroke(_ rejection: Rejection) {
        refuse(rejection)
    }
}

// MARK: - answer

extension Exchange {
    /// 1xx: passes, but not to HTTP/1.0 (RFC 9110 §15.2), and a 100 only to who asked for it.
    func interimResponse(_ head: ResponseHead, _ bytes: ByteBuffer) {
        lastByte = loop.now
        guard minorVersion == 1, head.status != 100 || (expectsContinue && !snapshot.routes[route].isSessionAPI) else { return }
        var buffer = loop.takeBuffer()
        bytes.withUnsafeReadableBytes { raw in
            snapshot.cleaning.writeResponseHead(head, raw, framing: .none, connection: .unsaid, into: &buffer)
        }
        downstream.write(buffer)
        downstream.flush()
        loop.recycle(buffer)
    }

    func responseHead(_ head: ResponseHead, _ bytes: ByteBuffer) {
        state = .responding
        lastByte = loop.now
        record.status = head.status
        record.upstreamDuration = lastByte - sent
        loop.counters.upstreamAnswered(snapshot.upstreamIndex(route), after: lastByte - sent, of: snapshot)
        clientFraming = head.framing
        if minorVersion == 0 {
            if case .chunked = head.framing { clientFraming = .untilClose }
        } else if case .untilClose = head.framing {
            clientFraming = .chunked
        }
        closesClient = downstream.endsWithAnswer(refused: false)
        if case .untilClose = clientFraming { closesClient = true }
        if closesClient { downstream.closesAfterAnswer() }
        outgoing = loop.takeBuffer()
        hasOutgoing = true
        bytes.withUnsafeReadableBytes { raw in
            snapshot.cleaning.writeResponseHead(head, raw, framing: clientFraming, connection: closesClient ? .close : .unsaid, into: &outgoing)
        }
    }

    /// A piece of the answer. Small ones are put behind what waits already, so that a small answer is one write.
    private static let gatherLimit = 16 << 10

    func responseBody(_ piece: ByteBuffer) {
        guard state == .responding, piece.readableBytes > 0 else { return }
        lastByte = loop.now
        record.responseBytes += Int64(piece.readableBytes)
        let isChunked = clientFraming == .chunked
        if hasOutgoing || isChunked, piece.readableBytes + outgoing.readableBytes <= Self.gatherLimit {
            if !hasOutgoing {
                outgoing = loop.takeBuffer()
                hasOutgoing = true
            }
            if isChunked { outgoing.writeChunkSize(piece.readableBytes) }
            outgoing.writeImmutableBuffer(piece)
            if isChunked { outgoing.writeStaticString("\r\n") }
        } else {
            writeOutgoing()
            if isChunked {
                writeChunk(piece) { downstream.write($0) }
            } else {
                downstream.write(piece)
            }
            if !downstream.isWritable { upstream?.pauseReading() }
        }
    }

    /// A piece as a chunk of its own (RFC 9112 §7.1); chunk extensions of the other side end here.
    private func writeChunk(_ piece: ByteBuffer, to write: (ByteBuffer) -> Void) {
        var buffer = loop.takeBuffer()
        buffer.writeChunkSize(piece.readableBytes)
        if piece.readableBytes <= Self.gatherLimit {
            buffer.writeImmutableBuffer(piece)
            buffer.writeStaticString("\r\n")
            write(buffer)
            loop.recycle(buffer)
        } else {
            write(buffer)
            write(piece)
            write(loop.lineEnd)
        }
    }

    private func writeOutgoing() {
        guard hasOutgoing else { return }
        hasOutgoing = false
        let bytes = outgoing
        outgoing = loop.noBytes
        downstream.write(bytes)
        loop.recycle(bytes)
    }

    func flushToClient() {
        writeOutgoing()
        downstream.flush()
        if !downstream.isWritable { upstream?.pauseReading() }
    }

    func clientBecameWritable() { upstream?.resumeReading() }

    func responseEnded(trailers: ByteBuffer?) {
        upstream = nil
        guard state == .responding else { return }
        if clientFraming == .chunked {
            if !hasOutgoing {
                outgoing = loop.takeBuffer()
                hasOutgoing = true
            }
            snapshot.cleaning.writeLastChunk(trailers: trailers, fromClient: false, scanner: loop.trailerScanner, into: &outgoing)
        }
        writeOutgoing()
        downstream.flush()
        finish()
        downstream.exchangeEnded()
    }

    /// The answer broke off: what the client has must not look whole.
    func responseBroke() {
        upstream = nil
        guard state == .responding || state == .tunnel else { return }
        writeOutgoing()
        record.outcome = .brokenOff
        finish()
        downstream.cut()
    }
}

// MARK: - tunnel

extension Exchange {
    /// Whether a 101 is the answer to what was asked (contract §4.8): the protocol that was asked for, said with `Connection: Upgrade`, without a length.
    func acceptsUpgrade(_ head: ResponseHead, _ bytes: ByteBuffer) -> Bool {
        guard carriesUpgrade, requestIsComplete, let named = head.upgrade, head.framing == .none || head.framing == .untilClose else { return false }
        return bytes.withUnsafeReadableBytes { raw in
            ASCII.equalIgnoringCase(UnsafeRawBufferPointer(rebasing: raw[Int(named.start)..<Int(named.end)]), upgradeProtocol)
        }
    }

    func beganTunnel(_ head: ResponseHead, _ bytes: ByteBuffer) {
        state = .tunnel
        lastByte = loop.now
        record.status = 101
        record.upstreamDuration = lastByte - sent
        loop.counters.upstreamAnswered(snapshot.upstreamIndex(route), after: lastByte - sent, of: snapshot)
        if ASCII.equalIgnoringCase(upgradeProtocol, "websocket") {
            webSocketToClient = WebSocketFrames()
            webSocketToUpstream = WebSocketFrames()
        }
        var buffer = loop.takeBuffer()
        bytes.withUnsafeReadableBytes { raw in
            snapshot.cleaning.writeResponseHead(head, raw, framing: .none, connection: .upgrade, into: &buffer)
        }
        downstream.write(buffer)
        downstream.flush()
        loop.recycle(buffer)
        downstream.becomeTunnel()
        pumpBody()
    }

    func tunnelFromClient(_ bytes: ByteBuffer) {
        lastByte = loop.now
        record.requestBytes += Int64(bytes.readableBytes)
        if webSocketToUpstream != nil { bytes.withUnsafeReadableBytes { webSocketToUpstream!.advance(over: $0) } }
        upstream?.write(bytes)
        upstreamIsDirty = true
    }

    func tunnelFromUpstream(_ bytes: ByteBuffer) {
        lastByte = loop.now
        record.responseBytes += Int64(bytes.readableBytes)
        if webSocketToClient != nil { bytes.withUnsafeReadableBytes { webSocketToClient!.advance(over: $0) } }
        downstream.write(bytes)
    }

    /// The upstream has closed its side: what it said is delivered, then the client's side is closed.
    func upstreamTunnelEnded() {
        upstream = nil
        guard state == .tunnel else { return }
        finish()
        state = .ended
        downstream.closeTunnel(within: nil)
    }

    /// Tells both ends of a WebSocket why it closes, where that fits between two frames.
    private func closeWebSocket(code: UInt16, reason: StaticString) -> (clientWasTold: Bool, upstreamWasTold: Bool) {
        var told = (clientWasTold: false, upstreamWasTold: false)
        if let frames = webSocketToClient, frames.isBetweenFrames {
            var buffer = loop.takeBuffer()
            buffer.writeBytes(WebSocketFrames.close(code: code, reason: reason, mask: nil))
            downstream.write(buffer)
            told.clientWasTold = true
        }
        if let frames = webSocketToUpstream, frames.isBetweenFrames, let upstream {
            var buffer = loop.takeBuffer()
            buffer.writeBytes(WebSocketFrames.close(code: code, reason: reason, mask: UInt32.random(in: 0 ... .max)))
            upstream.write(buffer)
            told.upstreamWasTold = true
        }
        return told
    }
}

// MARK: - end

extension Exchange {
    /// How long a client may take to read the close frame that ends its WebSocket.
    private static let farewellTimeout = TimeAmount.seconds(2)

    /// Why an exchange is ended from the gateway's side.
    typealias Ending = ExchangeEnding

    func belongs(to user: UserID, session: String?) -> Bool {
        guard state != .idle, state != .ended, let reference = remembered?.reference, reference.user == user else { return false }
        return session == nil || reference.session == session
    }

    /// Ends what is going on: with an answer where none has begun, else so that it does not look complete.
    func end(_ ending: Ending) {
        switch state {
        case .session where ending == .revoked:
            // The answer that is on its way may be from before.
            endedMeanwhile = true
        case .session, .gathering, .connecting, .sending:
            refuse(ending == .revoked ? .sessionRevoked : .draining)
        case .responding:
            loop.counters.streamClosed(ending)
            record.outcome = ending == .revoked ? .revoked : .draining
            upstream?.detach()
            upstream = nil
            writeOutgoing()
            finish()
            downstream.cut()
        case .tunnel:
            loop.counters.streamClosed(ending)
            record.outcome = ending == .revoked ? .revoked : .draining
            let told = ending == .revoked ? closeWebSocket(code: 1008, reason: "session revoked") : closeWebSocket(code: 1001, reason: "going away")
            if told.upstreamWasTold { upstream?.closeAfterWrites() } else { upstream?.cut() }
            upstream = nil
            finish()
            state = .ended
            if told.clientWasTold { downstream.closeTunnel(within: Self.farewellTimeout) } else { downstream.cut() }
        case .idle:
            downstream.cut()
        case .judging, .ended:
            return
        }
    }

    /// The client's connection has ended: so does everything that was done for it.
    func clientGone(byReset: Bool) {
        let wasActive = state != .idle && state != .ended
        ticket &+= 1
        // What ends a tunnel on one side ends it on the other.
        if state == .tunnel, byReset { upstream?.cut() } else { upstream?.detach() }
        upstream = nil
        if wasActive {
            if state != .tunnel { record.outcome = .clientGone }
            finish()
        }
        state = .ended
    }

    /// Refuses the request; where its answer has begun, cuts it.
    private func refuse(_ rejection: Rejection) {
        upstream?.detach()
        upstream = nil
        if state == .responding || state == .tunnel {
            record.outcome = .rejected(rejection)
            finish()
            return downstream.cut()
        }
        answer(rejection)
    }

    private func answer(_ rejection: Rejection) {
        let closes = downstream.endsWithAnswer(refused: true)
        if closes { downstream.closesAfterAnswer() }
        record.outcome = .rejected(rejection)
        var buffer = loop.takeBuffer()
        record.status = rejection.write(
            requestID: record.requestID, isHead: method == .head, closes: closes,
            redirect: wantsHTML ? snapshot.loginRedirect(route) : nil, into: &buffer)
        downstream.write(buffer)
        downstream.flush()
        loop.recycle(buffer)
        finish()
        downstream.exchangeEnded()
    }

    /// What was not even a request: nothing of it is known but what is wrong with it.
    func refuseHead(_ rejection: Rejection) {
        state = .judging
        snapshot = loop.snapshot
        asked = loop.now
        route = -1
        method = .other
        expectsContinue = false
        requestIsComplete = false
        loop.counters.requestBegan()
        record.begin(loop.ids.requestID())
        answer(rejection)
    }

    /// Once for each request: what was flushed last may have shown that the client is gone, which finishes it, too.
    private func finish() {
        guard state != .idle, state != .ended else { return }
        state = .idle
        ticket &+= 1
        record.duration = loop.now - asked
        record.identity = remembered
        loop.counters.requestEnded(route: route, record, of: snapshot)
        if snapshot.accessLog { loop.accessLog?.append(record, snapshot: snapshot, route: route) }
        remembered = nil
        record.identity = nil
        pool = nil
        anonymousHead = nil
        loop.recycle(upstreamHead)
        upstreamHead = loop.noBytes
        gathered = loop.noBytes
        webSocketToClient = nil
        webSocketToUpstream = nil
    }

    /// When the loop has to look again, for whatever is going on.
    var deadline: NIODeadline {
        switch state {
        case .idle, .judging, .ended, .session, .connecting: .distantFuture
        case .gathering: sent + snapshot.limits.headTimeout
        case .sending: requestIsComplete ? sent + snapshot.responseTimeout(route) : lastByte + snapshot.limits.streamIdleTimeout
        case .responding, .tunnel: lastByte + snapshot.limits.streamIdleTimeout
        }
    }

    func deadlinePassed() {
        switch state {
        case .gathering: refuse(.headTimeout)
        case .sending where requestIsComplete: refuse(Rejection(.responseTimeout))
        case .sending, .responding, .tunnel:
            loop.counters.streamClosed(.idle)
            record.outcome = .idle
            upstream?.detach()
            upstream = nil
            finish()
            downstream.cut()
        case .idle, .judging, .ended, .session, .connecting: return
        }
    }
}
