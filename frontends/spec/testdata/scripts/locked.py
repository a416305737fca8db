# /// script
# requires-python = ">=3.12"
# dependencies = ["idna"]
# ///
import idna

print(idna.encode("ドメイン.テスト"))
