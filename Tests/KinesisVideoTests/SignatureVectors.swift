// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import KinesisVideo
import SansIO
import Testing

/// One worked signature of the vector files; absent members belong to the other kind of request.
struct SignatureVector: Decodable, Sendable, CustomTestStringConvertible {
  struct Input: Decodable, Sendable {
    var method: String
    var endpoint: String?
    var url: String?
    var body: String?
    var region: String
    var service: String
    var accessKeyId: String
    var secretAccessKey: String
    var sessionToken: String?
    var amzDate: String
    var expires: Int?
    var params: [String: String]?
    var headersSent: [String: String]?
  }

  struct Verification: Decodable, Sendable {
    var serverNow: String
    var expect: Int
    var messageContains: String?
  }

  var name: String
  var input: Input
  var canonicalRequest: String
  var stringToSign: String
  var signingKeyHex: String
  var signature: String
  var signedUrl: String?
  var authorization: String?
  var verification: Verification?

  var testDescription: String { name }

  var credentials: AWSCredentials {
    AWSCredentials(
      accessKeyID: input.accessKeyId, secretAccessKey: Secret(input.secretAccessKey),
      sessionToken: input.sessionToken.map { Secret($0) })
  }

  static func load(_ file: String) -> [SignatureVector] {
    struct File: Decodable { var vectors: [SignatureVector] }
    let folder = #filePath.split(separator: "/").dropLast().joined(separator: "/")
    guard let data = FileManager.default.contents(atPath: "/\(folder)/Vectors/\(file).json"),
      let content = try? JSONDecoder().decode(File.self, from: data)
    else {
      Issue.record("the vectors of \(file) cannot be read")
      return []
    }
    return content.vectors
  }
}

/// The pairs of a dictionary in a repeatable order.
func pairs(_ dictionary: [String: String]) -> [(name: String, value: String)] {
  dictionary.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
}
