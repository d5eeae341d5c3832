// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

#if canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The file of the certificate that clients shall trust: the authority's own, or one of this run where the authority
/// is kept nowhere.
struct CertificateFile: Sendable {
  /// Where it is.
  let path: String
  /// The folder that goes with this run.
  private let temporaryDirectory: String?

  /// - Throws: What keeps the file from being written.
  init(of authority: LocalCertificateAuthority, directory: String?) throws(LocalServerError) {
    if let directory {
      path = LocalCertificateAuthority.certificatePath(in: directory)
      temporaryDirectory = nil
      return
    }
    // A folder of an unknown name that only its owner enters: nobody else can lay a file or a link there before.
    var template = Array((FileManager.default.temporaryDirectory.path + "/kvs-webrtc-XXXXXX").utf8CString)
    guard mkdtemp(&template) != nil else { throw .cannotCertify(reason: String(cString: strerror(errno))) }
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    temporaryDirectory = folder
    path = LocalCertificateAuthority.certificatePath(in: folder)
    do {
      try Data(authority.certificatePEM.utf8).write(to: URL(filePath: path))
    } catch {
      throw .cannotCertify(reason: "\(path) cannot be written")
    }
  }

  /// Removes what goes with this run.
  func remove() {
    if let temporaryDirectory { try? FileManager.default.removeItem(atPath: temporaryDirectory) }
  }
}
