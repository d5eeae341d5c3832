// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import KinesisVideo

/// The bodies of the operations that only the service's side needs; the client's are in ``KinesisVideoShapes``.
enum ControlPlaneShapes {
  struct UpdateSignalingChannelRequest: Decodable {
    let ChannelARN: String
    let CurrentVersion: String
    let SingleMasterConfiguration: KinesisVideoShapes.SingleMasterConfiguration?
  }

  struct ListSignalingChannelsRequest: Decodable {
    struct Condition: Decodable {
      let ComparisonOperator: String?
      let ComparisonValue: String?
    }
    let MaxResults: Int?
    let NextToken: String?
    let ChannelNameCondition: Condition?
  }

  struct ListSignalingChannelsResponse: Encodable {
    let ChannelInfoList: [KinesisVideoShapes.ChannelInfo]
    let NextToken: String?
  }

  struct TagResourceRequest: Decodable {
    let ResourceARN: String
    let Tags: [KinesisVideoShapes.Tag]
  }

  struct UntagResourceRequest: Decodable {
    let ResourceARN: String
    let TagKeyList: [String]
  }

  struct ListTagsForResourceRequest: Decodable {
    let ResourceARN: String
    let NextToken: String?
  }

  struct ListTagsForResourceResponse: Encodable {
    let Tags: [String: String]
  }

  struct Empty: Codable {}
}

/// Reads and writes the bodies.
enum ServiceJSON {
  /// Reads a request's body; an empty one counts as an object without members.
  ///
  /// A missing member is an invalid argument, a member of a wrong type or a broken text a serialization error.
  static func decode<Body: Decodable>(_ type: Body.Type, from body: [UInt8]) throws(KinesisVideoError) -> Body
  {
    do {
      return try JSONDecoder().decode(type, from: body.isEmpty ? Data("{}".utf8) : Data(body))
    } catch DecodingError.keyNotFound(let key, _) {
      throw KinesisVideoError(.invalidArgument, "The member \(key.stringValue) is missing.")
    } catch DecodingError.valueNotFound(_, let context) {
      let name = context.codingPath.last?.stringValue ?? "body"
      throw KinesisVideoError(.invalidArgument, "The member \(name) must not be null.")
    } catch DecodingError.typeMismatch(_, let context) {
      let name = context.codingPath.map(\.stringValue).joined(separator: ".")
      throw KinesisVideoError(.serialization, "The member '\(name)' has the wrong type.")
    } catch {
      throw KinesisVideoError(.serialization, "The body is not a JSON object.")
    }
  }

  /// Writes an answer's body, members in the order of their names: some clients expect the same order every time, and
  /// the one member that they look for first.
  static func encode(_ body: some Encodable) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Strings, numbers and lists of them can always be written.
    guard let data = try? encoder.encode(body) else { return Array("{}".utf8) }
    return Array(data)
  }
}
