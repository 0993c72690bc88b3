// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The signature algorithms of RFC 7518 §3.1 and RFC 8037 that can be trusted; `none` is none of them. The raw value is
/// the `alg` of a header, compared with its case (RFC 7515 §4.1.1).
package enum JOSEAlgorithm: String, Sendable, CaseIterable, Hashable {
    case hs256 = "HS256"
    case hs384 = "HS384"
    case hs512 = "HS512"
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case es256 = "ES256"
    case es384 = "ES384"
    case es512 = "ES512"
    case eddsa = "EdDSA"

    /// HS*: whoever can verify can sign, so the key is a secret and never a published one.
    package var isSymmetric: Bool {
        if case .hmac = scheme { true } else { false }
    }

    /// One bit for each: see `AlgorithmSet`.
    fileprivate var bit: UInt16 {
        switch self {
        case .hs256: 1
        case .hs384: 1 << 1
        case .hs512: 1 << 2
        case .rs256: 1 << 3
        case .rs384: 1 << 4
        case .rs512: 1 << 5
        case .ps256: 1 << 6
        case .ps384: 1 << 7
        case .ps512: 1 << 8
        case .es256: 1 << 9
        case .es384: 1 << 10
        case .es512: 1 << 11
        case .eddsa: 1 << 12
        }
    }

    /// What the algorithm does, with its parameters. A key answers to schemes of its own kind alone: see `KeyMaterial`.
    enum Scheme {
        case hmac(HashFunction)
        case pkcs1(HashFunction)
        case pss(HashFunction)
        case ecdsa(EllipticCurve)
        case ed25519
    }

    var scheme: Scheme {
        switch self {
        case .hs256: .hmac(.sha256)
        case .hs384: .hmac(.sha384)
        case .hs512: .hmac(.sha512)
        case .rs256: .pkcs1(.sha256)
        case .rs384: .pkcs1(.sha384)
        case .rs512: .pkcs1(.sha512)
        case .ps256: .pss(.sha256)
        case .ps384: .pss(.sha384)
        case .ps512: .pss(.sha512)
        case .es256: .ecdsa(.p256)
        case .es384: .ecdsa(.p384)
        case .es512: .ecdsa(.p521)
        case .eddsa: .ed25519
        }
    }
}

/// What a `Set` of them is, in one word: it is looked into for every token, where a `Set` would hash.
struct AlgorithmSet: Sendable, Equatable {
    private let bits: UInt16

    init(_ algorithms: Set<JOSEAlgorithm>) {
        bits = algorithms.reduce(0) { $0 | $1.bit }
    }

    func contains(_ algorithm: JOSEAlgorithm) -> Bool { bits & algorithm.bit != 0 }
}

/// The curves of RFC 7518 §6.2.1.1; each belongs to exactly one ES* algorithm and one hash function (§3.4).
enum EllipticCurve: CaseIterable {
    case p256, p384, p521

    /// `crv` of a JWK.
    var name: String {
        switch self {
        case .p256: "P-256"
        case .p384: "P-384"
        case .p521: "P-521"
        }
    }

    /// OpenSSL's name of the group.
    var groupName: String {
        switch self {
        case .p256: "prime256v1"
        case .p384: "secp384r1"
        case .p521: "secp521r1"
        }
    }

    var algorithm: JOSEAlgorithm {
        switch self {
        case .p256: .es256
        case .p384: .es384
        case .p521: .es512
        }
    }

    var hash: HashFunction {
        switch self {
        case .p256: .sha256
        case .p384: .sha384
        case .p521: .sha512
        }
    }

    /// Bytes of a coordinate, and of each of r and s.
    var coordinateSize: Int {
        switch self {
        case .p256: 32
        case .p384: 48
        case .p521: 66
        }
    }
}
