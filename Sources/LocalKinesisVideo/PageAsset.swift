// SPDX-License-Identifier: Apache-2.0

import CViewerPage
import KinesisVideo

/// One file of the viewer page, which the binary carries.
struct PageAsset: Sendable {
  let contentType: String
  let bytes: [UInt8]
  /// Changes with the content, so that a browser asks but does not fetch twice.
  let entityTag: String

  /// The page's files by their paths.
  static func all() -> [String: PageAsset] {
    var assets: [String: PageAsset] = [:]
    for index in 0..<cvp_asset_count() {
      var size = 0
      var path: UnsafePointer<CChar>?
      var contentType: UnsafePointer<CChar>?
      guard let start = cvp_asset(index, &size, &path, &contentType), let path, let contentType else {
        continue
      }
      let bytes = Array(UnsafeBufferPointer(start: start, count: size))
      assets[String(cString: path)] = PageAsset(
        contentType: String(cString: contentType), bytes: bytes,
        entityTag: "\"\(SignatureV4.sha256(bytes).prefix(16))\"")
    }
    return assets
  }

  /// The file, or that it has not changed.
  func response(ifNoneMatch: String?) -> ServiceResponse {
    let headers = [("ETag", entityTag), ("Cache-Control", "no-cache")]
    let isUnchanged = ifNoneMatch?.split(separator: ",").contains { $0.contains(entityTag) } ?? false
    if isUnchanged { return ServiceResponse(status: 304, headers: headers) }
    return ServiceResponse(status: 200, headers: headers + [("Content-Type", contentType)], body: bytes)
  }

  /// The page runs its own files alone and talks to WebSockets, because it follows the endpoint that it is given.
  static let securityHeaders = [
    (
      name: "Content-Security-Policy",
      value: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        + "media-src 'self' blob: mediastream:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; "
        + "frame-ancestors 'none'"
    ),
    (name: "X-Content-Type-Options", value: "nosniff"),
    (name: "Referrer-Policy", value: "no-referrer"),
  ]
}
