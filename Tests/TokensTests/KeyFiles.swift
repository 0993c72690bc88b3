// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Key files of kinds that the gateway refuses, made for these tests alone.
enum KeyFiles {
    static let encrypted = """
        -----BEGIN ENCRYPTED PRIVATE KEY-----
        MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhw67gJDb+UCwICCAAw
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEAQIEEM+kAZhnyvMudGhe9+N6W3sEQMmO
        METF1ikaGotmAy9ZyIECdbuzmubvpj/fBs5g6AINJ6uremO47bvvraSIW1moZuPB
        GHTwLjicKjS5dPdR3ps=
        -----END ENCRYPTED PRIVATE KEY-----
        """

    static let sec1 = """
        -----BEGIN EC PRIVATE KEY-----
        MHcCAQEEII2Y+jB89BRYTBz2ZN8tj4hN5bQ+AhALmA9v9YGxbFZOoAoGCCqGSM49
        AwEHoUQDQgAEPAK9EBiUFv5e4cmQ6dHlc+d74ECOt4tAzkMOyU27lM4xqAQiEdnZ
        RiaPPhAXP6IRWuxs/+M6ugst/qP64FJOKg==
        -----END EC PRIVATE KEY-----
        """

    static let encryptedSEC1 = """
        -----BEGIN EC PRIVATE KEY-----
        Proc-Type: 4,ENCRYPTED
        DEK-Info: AES-128-CBC,9BA9B7E555A5CF0ABFB414D5263D8A04

        Nnz9agVXOIwuubVZOiXH138/XejqvklpkI0oWjYKh9a1NVtJa10ozLDoy14Et7pw
        Mj4eNSY/vko1VvNPMsRGmi1JGwLYYoQ/ht+QOnVfb1NAej/iWFTfG8QxbBZHTyLU
        jLthwp/qYSdMd2PWVNXIrd5/JTpLw/zQKrVwoZg39pg=
        -----END EC PRIVATE KEY-----
        """

    static let x25519 = """
        -----BEGIN PRIVATE KEY-----
        MC4CAQAwBQYDK2VuBCIEILD9lmBcjHBSD4aHq6CJhSEVpk2YOD54KS3jdvMsLRNk
        -----END PRIVATE KEY-----
        """

    static let secp256k1 = """
        -----BEGIN PRIVATE KEY-----
        MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgcOO8ZMcHUmSnow5U4AFt
        TZzlF/77/xvXeFr5OTfE7CehRANCAASR0ZnRCjVPo/H2UWJ4sLBW4ayyHL6nef+p
        fk+1YuuJU3+UvICfaU8Ep4gzyahFr5oWOxcdTfofGJhFrPmmw7eX
        -----END PRIVATE KEY-----
        """

    static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBLDCB36ADAgECAhQJAtcqKgvvZZHfqdY+hi/3G+48+DAFBgMrZXAwDDEKMAgG
        A1UEAwwBeDAeFw0yNjExMjQxNDI1NDJaFw0yNjEyMjQxNDI1NDJaMAwxCjAIBgNV
        BAMMAXgwKjAFBgMrZXADIQCBSWYL6oAySdRO8vvnvOZfacngQRCk9qlPcLmSUj5v
        H6NTMFEwHQYDVR0OBBYEFK1Wv/2mXi0kCfvLrg97CPsMrq13MB8GA1UdIwQYMBaA
        FK1Wv/2mXi0kCfvLrg97CPsMrq13MA8GA1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EA
        nQhfWkHZUJLL8ax7B9kSNHlQo4kqvhSL1gbEofGh1kkp0h5UqSAGUvPa7AZnsfR6
        3902iaFABi9YkoRKY7kmBg==
        -----END CERTIFICATE-----
        """

    static let publicKey = """
        -----BEGIN PUBLIC KEY-----
        MCowBQYDK2VwAyEAs/C98C+4QaZwnkgq+j4RVLLCSQkxxCaJhGQUxq3C2lA=
        -----END PUBLIC KEY-----
        """

    static let pkcs1PublicKey = """
        -----BEGIN RSA PUBLIC KEY-----
        MIIBCgKCAQEAoOmfhGPaMzsTGtOgb+AiMzdCTjM6tXVc6Vf/D2XilqS3waqoqiK3
        EW6Ds30OIVBRwEEk2nNLZuBW4xqSc4p0BE2HQ5CD62anOnS1AW+5E3oUNLoSRFQS
        Pb31KNmfD7CbO3eYcbMrfpRp2XuGDO8JoL8NI8nhhzWFTIOqJ5vbR+9PshpkV8Uz
        qlvAIbirXp4xeePTLUDLVwcBWVYAHYHgRH0dN/2bzD/Ixn7Ib3V7NdAEEbCUmRpP
        q4FycQo7KVSCbn4aRvNowNbaEe+AdZxts02QItasxWHbl8c5MVfiqBuhp2iALqcR
        YrIfE0JfepHweb0MZODnPuEO4NhC29g9FwIDAQAB
        -----END RSA PUBLIC KEY-----
        """

    static let mixedHalves = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrLW1f+gi80mkSeuK
        4L9r60hC+seEP8AzBUYuPYj5C2WhRANCAASatTbOF68wbTW/yfUa8O8PkJfP5fJc
        In2YYkZZDSSOQgGEWADRX+6qgWlcpT3Sl9zUGiEfINgq0y3JB0IWQj8b
        -----END PRIVATE KEY-----
        """

    static let explicitCurve = """
        -----BEGIN PUBLIC KEY-----
        MIIBSzCCAQMGByqGSM49AgEwgfcCAQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAA
        AAAAAAAAAAAA////////////////MFsEIP////8AAAABAAAAAAAAAAAAAAAA////
        ///////////8BCBaxjXYqjqT57PrvVV2mIa8ZR0GsMxTsPY7zjw+J9JgSwMVAMSd
        NgiG5wSTamZ44ROdJreBn36QBEEEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5
        RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9QIhAP////8AAAAA
        //////////+85vqtpxeehPO5ysL8YyVRAgEBA0IABJ3qgrcWhSNJKPjjz32uHHJd
        lM9Mqwo8bhKKXa+zFpvL56QhvI7j8NcWTTgQu/PwJ7Tv+P2p3ShxZzA5SgRrrKg=
        -----END PUBLIC KEY-----
        """
}
