//! Keys of devices and users for end-to-end encryption, as others are shown them.

use super::{QueryError, StateView};
use crate::id::{self, Position};
use crate::json::{self, JsonObject};
use crate::key_json;
use crate::proto::store;
use crate::rows::{self, key_usage};
use crate::table::{self, ScanControl, ScanRange, Table, key};
use bytes::Bytes;

/// Keys of a user as a caller is shown them; each is a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserKeys {
    /// Identity keys of devices, by device id.
    pub devices: Vec<(String, Bytes)>,
    /// Master key.
    pub master: Option<Bytes>,
    /// Key with which the user signs devices.
    pub self_signing: Option<Bytes>,
    /// Key with which the user signs other users; only its owner is shown it.
    pub user_signing: Option<Bytes>,
}

impl UserKeys {
    /// Returns the number of bytes of the keys.
    #[must_use]
    pub fn weight(&self) -> usize {
        let devices = self.devices.iter().map(|(device_id, keys)| device_id.len() + keys.len());
        let signing = [&self.master, &self.self_signing, &self.user_signing];
        devices.sum::<usize>() + signing.into_iter().flatten().map(Bytes::len).sum::<usize>()
    }
}

/// Usage of a cross-signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningUsage {
    /// Signs the other two.
    Master,
    /// Signs the user's devices.
    SelfSigning,
    /// Signs other users' master keys.
    UserSigning,
}

impl SigningUsage {
    /// Returns the name in `usage`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Master => key_usage::MASTER,
            Self::SelfSigning => key_usage::SELF_SIGNING,
            Self::UserSigning => key_usage::USER_SIGNING,
        }
    }
}

/// Key as its owner uploaded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// JSON object, with the signatures of the upload.
    pub json: Bytes,
    /// Position of the command that set the key.
    pub position: Position,
}

/// Keys that a device has left for others to begin encrypted sessions with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStock {
    /// Number of one-time keys by algorithm.
    pub one_time_keys: Vec<(String, u32)>,
    /// Algorithms with a fallback key that was not handed out yet.
    pub unused_fallback_keys: Vec<String>,
}

impl StateView<'_> {
    /// Returns the keys of a user, with the signatures that `caller` may see; `None` if there is no such user. Without
    /// device ids, those of all devices.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn keys_of(&self, caller: &str, user: &str, device_ids: &[String]) -> Result<Option<UserKeys>, QueryError> {
        if rows::account_row(self.rows, user)?.is_none() {
            return Ok(None);
        }
        let signing = |usage| rows::signing_key_row(self.rows, user, usage);
        let master = signing(key_usage::MASTER)?.map(|row| self.shown_master(caller, user, row)).transpose()?;
        let user_signing = if caller == user { signing(key_usage::USER_SIGNING)? } else { None };
        Ok(Some(UserKeys {
            devices: self.devices_with_keys(user, device_ids)?,
            master,
            self_signing: signing(key_usage::SELF_SIGNING)?.map(|row| row.key),
            user_signing: user_signing.map(|row| row.key),
        }))
    }

    fn devices_with_keys(&self, user: &str, device_ids: &[String]) -> Result<Vec<(String, Bytes)>, QueryError> {
        let mut found = Vec::new();
        if device_ids.is_empty() {
            let from = key::devices_of(user);
            self.rows.scan(&ScanRange::with_prefix(Table::DeviceKeys, &from), &mut |(key, value)| {
                let device_id = String::from_utf8_lossy(key.get(from.len()..).unwrap_or_default()).into_owned();
                found.push((device_id, table::decode_value::<store::DeviceKeys>(Table::DeviceKeys, value)?));
                Ok(ScanControl::More)
            })?;
        }
        for device_id in device_ids {
            let row = table::fetch_row(self.rows, Table::DeviceKeys, &key::device_key(user, device_id))?;
            found.extend(row.map(|row| (device_id.clone(), row)));
        }
        let mut out = Vec::with_capacity(found.len());
        for (device_id, row) in found {
            let device = table::fetch_row(self.rows, Table::Device, &key::device_key(user, &device_id))?;
            let device: store::Device = device.unwrap_or_default();
            let mut object = json::stored_object(&row.keys);
            self.add_signatures(&mut object, user, &row.signatures);
            let mut unsigned = JsonObject::new();
            if !device.display_name.is_empty() {
                unsigned.insert("device_display_name".into(), device.display_name.into());
            }
            object.insert("unsigned".into(), unsigned.into());
            out.push((device_id, json::canonical_json(&object)));
        }
        Ok(out)
    }

    /// Returns a master key with the signatures of its owner and of the caller. Whom else a user has verified is nobody's
    /// business (specification, "Cross-signing").
    fn shown_master(&self, caller: &str, user: &str, row: store::CrossSigningKey) -> Result<Bytes, QueryError> {
        let mut object = json::stored_object(&row.key);
        self.add_signatures(&mut object, user, &row.signatures);
        let own = table::fetch_row::<store::UserSignature>(
            self.rows,
            Table::UserSignature,
            &key::user_signature(caller, user),
        )?;
        let target = key_json::signing_key_id(&object).map(key_json::public_part).unwrap_or_default().to_owned();
        // A signature of a key that was replaced says nothing about the new one.
        if let Some(own) = own.filter(|own| own.target == target) {
            let signer = id::user_id(caller, self.server_name());
            key_json::add_signature(&mut object, &signer, &own.key_id, &own.signature);
        }
        Ok(json::canonical_json(&object))
    }

    fn add_signatures(&self, object: &mut JsonObject, user: &str, signatures: &[store::AddedSignature]) {
        let signer = id::user_id(user, self.server_name());
        for added in signatures {
            key_json::add_signature(object, &signer, &added.key_id, &added.signature);
        }
    }

    /// Returns a user's cross-signing key as it was uploaded.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn cross_signing_key(&self, user: &str, usage: SigningUsage) -> Result<Option<StoredKey>, QueryError> {
        let Some(row) = rows::signing_key_row(self.rows, user, usage.name())? else { return Ok(None) };
        let position = table::decode_position(Table::CrossSigningKey, &row.position)?.unwrap_or_default();
        Ok(Some(StoredKey { json: row.key, position }))
    }

    /// Returns a device's identity keys as they were uploaded.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn identity_keys(&self, user: &str, device_id: &str) -> Result<Option<StoredKey>, QueryError> {
        let key = key::device_key(user, device_id);
        let row = table::fetch_row::<store::DeviceKeys>(self.rows, Table::DeviceKeys, &key)?;
        let Some(row) = row else { return Ok(None) };
        let position = table::decode_position(Table::DeviceKeys, &row.position)?.unwrap_or_default();
        Ok(Some(StoredKey { json: row.keys, position }))
    }

    /// Returns what a device has left; `None` if it never uploaded a key.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn device_stock(&self, user: &str, device_id: &str) -> Result<Option<DeviceStock>, QueryError> {
        let key = key::device_key(user, device_id);
        let row = table::fetch_row::<store::KeyStock>(self.rows, Table::KeyStock, &key)?;
        Ok(row.map(|row| {
            let unused = row.parts.iter().filter(|part| !part.fallback_id.is_empty() && !part.fallback_used);
            DeviceStock {
                unused_fallback_keys: unused.map(|part| part.algorithm.clone()).collect(),
                one_time_keys: row.parts.iter().map(|part| (part.algorithm.clone(), part.count)).collect(),
            }
        }))
    }
}
