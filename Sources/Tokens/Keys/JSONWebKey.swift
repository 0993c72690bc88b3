// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Reads one JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2) that is to verify signatures, or says why it cannot.
enum JSONWebKey {
    /// `algorithms` are those that the issuer may use.
    static func verificationKey(_ jwk: JSONObject, algorithms: Set<JOSEAlgorithm>) throws(KeyProblem) -> VerificationKey {
        let keyID = try text("kid", of: jwk)
        guard let type = try text("kty", of: jwk) else { throw .badMember("kty") }
        try checkPurpose(jwk)
        if type == "oct" {
            let fitting = try restricted(algorithms, among: [.hs256, .hs384, .hs512], by: jwk)
            return try VerificationKey(secret: try bytes("k", of: jwk), keyID: keyID, algorithms: fitting)
        }
        // RFC 7518 §6.2.2, §6.3.2: whoever has published the private half has no key any more.
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth"] where jwk[name] != nil { throw .privateKey }
        let components = try components(jwk, type: type)
        let fitting = try restricted(algorithms, among: components.algorithms, by: jwk)
        return try VerificationKey(components, keyID: keyID, algorithms: fitting)
    }

    private static func components(_ jwk: JSONObject, type: String) throws(KeyProblem) -> PublicKeyComponents {
        switch type {
        case "RSA":
            return .rsa(modulus: BigNumber.trimmed(try bytes("n", of: jwk)), exponent: BigNumber.trimmed(try bytes("e", of: jwk)))
        case "EC":
            guard let name = try text("crv", of: jwk), let curve = EllipticCurve.allCases.first(where: { $0.name == name }) else {
                throw .unsupported
            }
            return .elliptic(curve, x: try bytes("x", of: jwk), y: try bytes("y", of: jwk))
        case "OKP":
            guard try text("crv", of: jwk) == "Ed25519" else { throw .unsupported }
            return .ed25519(try bytes("x", of: jwk))
        default:
            throw .unsupported
        }
    }

    /// RFC 7517 §4.2, §4.3: what they say must allow verifying signatures; a key that says nothing does.
    private static func checkPurpose(_ jwk: JSONObject) throws(KeyProblem) {
        if let use = jwk["use"], use.string != "sig" { throw .forAnotherUse }
        if let operations = jwk["key_ops"] {
            guard let operations = operations.array, operations.contains(.string("verify")) else { throw .forAnotherUse }
        }
    }

    /// The key's own `alg` leaves one of the algorithms that its kind fits.
    private static func restricted(
        _ listed: Set<JOSEAlgorithm>, among fitting: Set<JOSEAlgorithm>, by jwk: JSONObject
    ) throws(KeyProblem) -> Set<JOSEAlgorithm> {
        guard let name = try text("alg", of: jwk) else { return listed.intersection(fitting) }
        // RFC 9864 §2.2 gives EdDSA with this curve a name of its own.
        let algorithm: JOSEAlgorithm? = name == "Ed25519" ? .eddsa : JOSEAlgorithm(rawValue: name)
        guard let algorithm, fitting.contains(algorithm) else { throw .forAnotherAlgorithm }
        return listed.intersection([algorithm])
    }

    /// Nil when absent.
    private static func text(_ name: String, of jwk: JSONObject) throws(KeyProblem) -> String? {
        guard let value = jwk[name] else { return nil }
        guard let text = value.string else { throw .badMember(name) }
        return text
    }

    private static func bytes(_ name: String, of jwk: JSONObject) throws(KeyProblem) -> [UInt8] {
        guard let text = jwk[name]?.string, let bytes = Base64URL.decode(text) else { throw .badMember(name) }
        return bytes
    }
}
