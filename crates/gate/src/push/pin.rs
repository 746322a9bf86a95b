//! The kustomization that puts an image's digest into the manifests.

/// A component for deploy/*/kustomization.yaml, which names `image`, a reference with a digest.
///
/// Kustomize's own `images` reaches the images of containers only; a patch reaches every resource.
#[must_use]
pub fn kustomization(image: &str) -> String {
    format!(
        "\
# Written by deploy/push.sh: the image that it pushed last, for the manifests that include this.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  - target: {{ kind: WasmPlugin }}
    patch: |
      - {{ op: replace, path: /spec/url, value: \"oci://{image}\" }}
  - target: {{ kind: EnvoyExtensionPolicy }}
    patch: |
      - {{ op: replace, path: /spec/wasm/0/code/image/url, value: \"{image}\" }}
"
    )
}
